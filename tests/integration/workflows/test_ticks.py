"""Ticks on a real database: once each, whoever makes them; missed, refused, removed ones; thousands at a time."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from nexusflow.cli.app import call
from nexusflow.workflows.clock import ticks
from nexusflow.workflows.clock.ticks import START_SECONDS, Ticker
from nexusflow.workflows.saved.library import archive_workflow, create_workflow, update_workflow
from nexusflow.workflows.saved.schedules import ScheduleReport, list_schedules
from tests.integration.cluster import Cluster
from tests.servers.databases import make_database

if TYPE_CHECKING:
    from tests.servers.pool import ServerPool
    from tests.servers.postgres import PostgresServer

STEPS = [{"id": "a", "type": "transform", "with": {"jq": "."}}]
INPUT = {"schema": {"type": "object", "properties": {"region": {"type": "string"}}}}


class Clockwork:
    """A database without any process: what a dispatcher's clock does is done here, and looked at as the superuser."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.tenants = [str(cluster.database.tenant_a), str(cluster.database.tenant_b)]
        self.rows = psycopg.connect(cluster.database.owner_url, autocommit=True, row_factory=namedtuple_row)

    def publish(self, name: str, *triggers: dict[str, Any], tenant: int = 0) -> str:
        """Publish a workflow with these schedules; gives its id."""
        listed = [{"type": "schedule", **each} for each in triggers]
        text = json.dumps({"nexusflow": "1", "name": name, "input": INPUT, "triggers": listed, "steps": STEPS})
        found = self.all("SELECT id FROM workflows WHERE name = %s AND tenant_id = %s", name, self.tenants[tenant])
        if found:
            return update_workflow(self.tenants[tenant], str(found[0].id), text.encode(), publish=True).id
        return create_workflow(self.tenants[tenant], text.encode(), publish=True).id

    def all(self, query: str, *values: Any) -> list[Any]:
        return self.rows.execute(cast("Any", query), values).fetchall()

    def sleep(self, workflow: str, seconds: float) -> None:
        """As if nobody had kept this workflow's clock for so long."""
        back = "anchor = anchor - make_interval(secs => %s), next_at = next_at - make_interval(secs => %s)"
        self.rows.execute(
            cast("Any", f"UPDATE schedules SET {back} WHERE workflow_id = %s"), (seconds, seconds, workflow)
        )

    def ticks(self, workflow: str) -> list[Any]:
        query = (
            "SELECT t.*, r.trigger, r.input, r.accepted_at FROM ticks t LEFT JOIN runs r ON r.id = t.run_id"
            " WHERE t.workflow_id = %s ORDER BY t.schedule_id, t.at"
        )
        return self.all(query, workflow)

    def free(self, workflow: str) -> bool:
        """Whether nobody holds the workflow's schedules, and somebody did."""
        self.was_held: bool = getattr(self, "was_held", False) or not self._unlocked(workflow)
        return self.was_held and self._unlocked(workflow)

    def _unlocked(self, workflow: str) -> bool:
        return bool(self.all("SELECT 1 FROM schedules WHERE workflow_id = %s FOR UPDATE SKIP LOCKED", workflow))

    def runs(self, workflow: str) -> int:
        return int(self.all("SELECT count(*) AS found FROM runs WHERE workflow_id = %s", workflow)[0].found)

    def report(self, workflow: str) -> list[ScheduleReport]:
        return list_schedules(self.tenants[0], workflow)


@pytest.fixture(scope="module")
def served(server_pool: "ServerPool") -> Iterator[Clockwork]:
    postgres = cast("PostgresServer", server_pool.get("postgres"))
    made = Clockwork(
        Cluster(make_database(postgres), "redis://127.0.0.1:1/0", {"database_pool_size": 4, "tenant": "tenant-a"})
    )
    yield made
    made.rows.close()
    made.cluster.stop()


@pytest.fixture
def clockwork(served: Clockwork) -> Iterator[Clockwork]:
    served.rows.execute("DELETE FROM ticks; DELETE FROM schedules")
    with served.cluster.active():
        yield served


def test_a_tick_is_made_when_it_is_due_and_never_before(clockwork: Clockwork) -> None:
    workflow = clockwork.publish("due", {"interval": "1h", "input": {"region": "eu"}})
    assert Ticker().step() == 0
    clockwork.sleep(workflow, 3599)
    due = clockwork.all("SELECT next_at FROM schedules WHERE workflow_id = %s", workflow)[0].next_at
    ticker = Ticker()
    while not ticker.step():
        assert clockwork.all("SELECT now() < %s + interval '1 second' AS early", due)[0].early
        time.sleep(0.02)
    (tick,) = clockwork.ticks(workflow)
    assert (tick.at, tick.state, tick.trigger, tick.input) == (due, "started", "schedule", {"region": "eu"})
    assert timedelta(0) <= tick.accepted_at - due < timedelta(seconds=1)
    (schedule,) = clockwork.report(workflow)
    assert schedule.next_times == [due + each * timedelta(hours=1) for each in range(1, 6)]
    assert [(each.at, each.state, each.run_id, each.run_status) for each in schedule.ticks] == [
        (due, "started", str(tick.run_id), "queued")
    ]


def _schedules(clockwork: Clockwork, workflow: str, tenant: int, count: int) -> None:
    query = (
        "INSERT INTO schedules (id, tenant_id, workflow_id, digest, spec, anchor, next_at)"
        " SELECT gen_random_uuid(), %s, %s, each::text, '{\"interval\": 3600.0}', now() - interval '1 hour', now()"
        " FROM generate_series(1, %s) AS each"
    )
    clockwork.rows.execute(cast("Any", query), (clockwork.tenants[tenant], workflow, count))


def test_a_thousand_at_once_each_starts_one_run_whoever_keeps_the_clock(clockwork: Clockwork) -> None:
    flows = [clockwork.publish(f"many-{tenant}", tenant=tenant) for tenant in (0, 1)]
    _schedules(clockwork, flows[0], 0, 950)
    _schedules(clockwork, flows[1], 1, 50)
    longest: list[float] = []
    settled: list[int] = []
    barrier = threading.Barrier(3)

    def keep() -> None:
        ticker = Ticker()
        barrier.wait()
        while open_ones() or not settled:
            began = time.monotonic()
            settled.append(ticker.step())
            longest.append(time.monotonic() - began)

    def open_ones() -> list[Any]:
        with psycopg.connect(clockwork.cluster.database.owner_url) as connection:
            due = "SELECT 1 FROM schedules WHERE next_at <= now() UNION ALL SELECT 1 FROM ticks WHERE state = 'due'"
            return connection.execute(cast("Any", f"SELECT 1 FROM ({due}) AS open LIMIT 1")).fetchall()

    with ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(keep) for _ in range(3)]:
            each.result()
    for flow, count in zip(flows, (950, 50), strict=True):
        ticks = clockwork.ticks(flow)
        assert len(ticks) == len({each.schedule_id for each in ticks}) == len({each.run_id for each in ticks}) == count
        assert {each.state for each in ticks} == {"started"}
        assert clockwork.runs(flow) == count
    assert sum(settled) == 1000
    assert max(longest) < START_SECONDS + 5, "a pass goes on for ever"
    # The small tenant's come with the first of the large one's, not behind them.
    small = max(each.accepted_at for each in clockwork.ticks(flows[1]))
    assert sum(each.accepted_at > small for each in clockwork.ticks(flows[0])) > 300


def test_a_tick_that_was_made_and_not_started_is_taken_up_once(clockwork: Clockwork) -> None:
    workflow = clockwork.publish("taken-up", {"interval": "1h"})
    insert = (
        "INSERT INTO ticks (schedule_id, at, tenant_id, workflow_id) SELECT id, now(), tenant_id, workflow_id"
        " FROM schedules WHERE workflow_id = %s"
    )
    clockwork.rows.execute(cast("Any", insert), (workflow,))
    ticker = Ticker()
    with (
        ThreadPoolExecutor(1) as beat,
        psycopg.connect(clockwork.cluster.database.owner_url) as other,
    ):
        other.execute("SELECT 1 FROM ticks FOR UPDATE")  # another beat is at it
        pass_ = beat.submit(ticker.step)
        waited = not wait([pass_], timeout=5).done
        other.rollback()
        assert not waited, "it waits for the other"
        assert pass_.result() == 0
    assert ticker.look_in(None, has_open=True), "it would spin"
    assert Ticker().step() == 1
    assert Ticker().step() == 0
    assert clockwork.runs(workflow) == 1


def test_a_beat_that_is_paused_in_the_middle_keeps_nobody_out(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = clockwork.publish("paused", {"interval": "1h"})
    clockwork.sleep(workflow, 3601)
    with ThreadPoolExecutor(1) as beat, monkeypatch.context() as patch:
        held = threading.Event()
        patch.setattr(ticks, "PATIENCE", "300ms")
        patch.setattr(ticks, "_due_ticks", lambda _: (held.wait(8) and [], None))
        paused = beat.submit(Ticker().step)
        clockwork.cluster.until(lambda: clockwork.free(workflow), "the paused one's rows are free", 5)
        held.set()
        assert paused.result() == 0  # its transaction is gone; the dispatcher goes on
    assert Ticker().step() == 1


def test_what_cannot_start_fails_with_its_reason_and_is_left(clockwork: Clockwork) -> None:
    flows = [clockwork.publish(f"refused-{each}", {"interval": "1h"}) for each in ("archived", "input", "fine")]
    clockwork.rows.execute("UPDATE workflows SET status = 'archived' WHERE id = %s", (flows[0],))
    clockwork.rows.execute("UPDATE schedules SET input = '{\"region\": 7}' WHERE workflow_id = %s", (flows[1],))
    for flow in flows:
        clockwork.sleep(flow, 3601)
    Ticker().step()
    Ticker().step()
    found = [clockwork.ticks(flow) for flow in flows]
    assert [[(each.state, (each.error or {}).get("code")) for each in ticks] for ticks in found] == [
        [("failed", "ARCHIVED")],
        [("failed", "INVALID_INPUT")],
        [("started", None)],
    ]
    assert [clockwork.runs(flow) for flow in flows] == [0, 0, 1]
    assert "region" in found[1][0].error["details"][0]["path"]


def test_a_zone_that_is_not_known_here_stops_that_schedule_alone(clockwork: Clockwork) -> None:
    flows = [clockwork.publish(f"zone-{each}", {"cron": "* * * * *"}) for each in ("broken", "fine")]
    clockwork.rows.execute("UPDATE schedules SET next_at = date_trunc('minute', now())")
    broken = "UPDATE schedules SET spec = jsonb_set(spec, '{timezone}', '\"Mars/Base\"') WHERE workflow_id = %s"
    clockwork.rows.execute(cast("Any", broken), (flows[0],))
    assert Ticker().step() == 1
    assert [each.state for each in clockwork.ticks(flows[0])] == ["failed"]
    assert [each.state for each in clockwork.ticks(flows[1])] == ["started"]
    assert clockwork.report(flows[0])[0].next_times == []


def test_ticks_that_can_never_be_settled_hold_up_no_other_tenants(clockwork: Clockwork) -> None:
    flows = [clockwork.publish("stuck", {"interval": "1h"}), clockwork.publish("fine", {"interval": "1h"}, tenant=1)]
    for flow, late in zip(flows, (3610, 3605), strict=True):
        clockwork.sleep(flow, late)
    clockwork.rows.execute(
        "CREATE FUNCTION refuse_tick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON ticks FOR EACH ROW"
        f" WHEN (NEW.workflow_id = '{flows[0]}') EXECUTE FUNCTION refuse_tick()"
    )
    try:
        assert Ticker().step() == 1
    finally:
        clockwork.rows.execute("DROP TRIGGER refuse ON ticks; DROP FUNCTION refuse_tick")
    assert [[each.state for each in clockwork.ticks(flow)] for flow in flows] == [["due"], ["started"]]


def test_a_clock_waits_for_no_storage(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clockwork.cluster.changes, "storage_url", "file:///there/is/no/such/folder")
    with clockwork.cluster.active():
        workflow = clockwork.publish("large", {"interval": "1h", "input": {"region": "x" * 300_000}})
        clockwork.sleep(workflow, 3601)
        assert Ticker().step() == 1
    assert [each.state for each in clockwork.ticks(workflow)] == ["started"]


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("skip", ["skipped"]),
        ("last", ["skipped", "started"]),
        ("all", ["started", "started", "started"]),
    ],
)
def test_a_clock_that_stood_for_hours(clockwork: Clockwork, misfire: str, expected: list[str]) -> None:
    workflow = clockwork.publish(f"slept-{misfire}", {"interval": "1h", "misfire": misfire})
    clockwork.sleep(workflow, 3 * 3600 + 600)
    Ticker().step()
    ticks = clockwork.ticks(workflow)
    assert [each.state for each in ticks] == expected
    anchor = clockwork.all("SELECT anchor, next_at FROM schedules WHERE workflow_id = %s", workflow)[0]
    assert ticks[-1].at == anchor.anchor + timedelta(hours=3)
    assert anchor.next_at == anchor.anchor + timedelta(hours=4)
    assert clockwork.runs(workflow) == expected.count("started")


@pytest.mark.parametrize(("misfire", "state"), [("skip", "skipped"), ("last", "started"), ("all", "started")])
def test_a_due_tick_that_grew_old(clockwork: Clockwork, misfire: str, state: str) -> None:
    workflow = clockwork.publish(f"old-{misfire}", {"interval": "1h", "misfire": misfire})
    insert = (
        "INSERT INTO ticks (schedule_id, at, tenant_id, workflow_id) SELECT id, now() - interval '5 minutes',"
        " tenant_id, workflow_id FROM schedules WHERE workflow_id = %s"
    )
    clockwork.rows.execute(cast("Any", insert), (workflow,))
    Ticker().step()
    assert [each.state for each in clockwork.ticks(workflow)] == [state]


def _known(clockwork: Clockwork, workflow: str) -> dict[str, tuple[str, datetime, datetime]]:
    query = "SELECT id, name, anchor, next_at FROM schedules WHERE workflow_id = %s"
    return {row.name: (row.id, row.anchor, row.next_at) for row in clockwork.all(query, workflow)}


def test_publishing_keeps_what_did_not_change_and_replaces_what_did(clockwork: Clockwork) -> None:
    kept, changed = {"id": "kept", "interval": "15m"}, {"id": "changed", "cron": "0 7 * * *"}
    workflow = clockwork.publish("again", kept, changed)
    clockwork.sleep(workflow, 100)
    before = _known(clockwork, workflow)
    clockwork.rows.execute(
        "INSERT INTO ticks (schedule_id, at, tenant_id, workflow_id) SELECT id, now(), tenant_id, workflow_id"
        " FROM schedules WHERE name = 'changed'"
    )
    clockwork.publish("again", {**changed, "timezone": "Europe/Berlin"}, kept)
    after = _known(clockwork, workflow)
    assert after["kept"] == before["kept"]
    assert after["changed"][0] != before["changed"][0]
    Ticker().step()
    assert [(each.state, each.error["code"]) for each in clockwork.ticks(workflow)] == [("skipped", "TRIGGER_REMOVED")]
    archive_workflow(clockwork.tenants[0], workflow)
    assert clockwork.report(workflow) == []
    clockwork.publish("again", kept)
    (again,) = clockwork.report(workflow)
    assert len(again.next_times) == 5


def test_the_command_shows_next_times_and_last_ticks(clockwork: Clockwork, capsys: pytest.CaptureFixture[str]) -> None:
    fine = clockwork.publish("shown", {"id": "often", "interval": "1h30m"})
    refused = clockwork.publish("shown-too", {"cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"})
    clockwork.rows.execute("UPDATE schedules SET input = '{\"region\": 7}' WHERE workflow_id = %s", (refused,))
    clockwork.rows.execute(
        "UPDATE schedules SET next_at = next_at - interval '7 days' WHERE workflow_id = %s", (refused,)
    )
    clockwork.sleep(fine, 5401)
    Ticker().step()
    assert call(["schedules"]) == 0
    shown = capsys.readouterr().out
    (tick,) = clockwork.ticks(fine)
    assert "shown often · every 1h30m\n" in shown
    assert f"queued {tick.run_id}\n" in shown
    assert "shown-too · 0 7 * * 1-5 (Europe/Berlin)" in shown
    assert "does not fit the workflow's schema. [INVALID_INPUT]" in shown
    assert call(["schedules", "list", "--json", "-w", "shown"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["workflow"], document["name"], document["interval"]) == ("shown", "often", 5400.0)
    assert len(document["next_times"]) == 5
    assert document["ticks"][0]["run_id"] == str(tick.run_id)
    assert document["ticks"][0]["at"] == tick.at.isoformat()
    archive_workflow(clockwork.tenants[0], fine)
    archive_workflow(clockwork.tenants[0], refused)
    assert call(["schedules"]) == 0
    assert "No schedules." in capsys.readouterr().out


def test_the_control_role_reads_no_input(clockwork: Clockwork) -> None:
    clockwork.publish("secret", {"interval": "1h", "input": {"region": "eu"}})
    with psycopg.connect(clockwork.cluster.database.control_url) as control:
        assert control.execute("SELECT spec FROM schedules").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            control.execute("SELECT input FROM schedules")
