"""Signals and the waits for their events: first, twice, late, for nobody, and at the same instant."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import tenant_session
from nexusflow.errors import Conflict, InvalidInput
from nexusflow.workflows.reports.report import read_progress
from nexusflow.workflows.reports.report_steps import awaited
from nexusflow.workflows.reports.signals import list_signals, read_signal
from nexusflow.workflows.rows import signals
from nexusflow.workflows.rows.signals import Signal
from nexusflow.workflows.starts.control import pause_run, resume_run
from nexusflow.workflows.starts.signalling import Sent, send_signal
from tests.integration.cluster import Cluster

AT_ONCE = 40
A_WHILE = 0.3
A_RUN = """
INSERT INTO runs (id, tenant_id, workflow_id, version_id, input, status)
SELECT uuid_floor(clock_timestamp()), :tenant, gen_random_uuid(), gen_random_uuid(), '{}', 'running' RETURNING id
"""
ITS_STEP = "INSERT INTO steps (run_id, step, tenant_id, state) VALUES (:run, 'rest', :tenant, :step)"
ITS_WAIT = """
INSERT INTO segments (run_id, segment, tenant_id, queue, state, due_at, fence, lease_until, event, event_key,
                      event_step, waits_since)
SELECT :run, 1, :tenant, 'workflow', :row, now() + interval '1 h', CASE WHEN :row = 'leased' THEN gen_random_uuid() END,
       CASE WHEN :row = 'leased' THEN now() END, :event, '', 'rest', now()
"""
ANY_KEY: dict[str, Any] = {"input": {"schema": {"type": "object", "properties": {"key": {}, "long": {}}}}}


@pytest.fixture(autouse=True)
def _of_this_cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """Calls of this process go to the cluster's database."""
    if "cluster" not in request.fixturenames:
        yield
        return
    with request.getfixturevalue("cluster").active():
        yield


def wait(event: str, name: str = "rest", **words: Any) -> dict[str, Any]:
    return {"id": name, "type": "wait", "with": {"event": event, **words}}


def waiting(cluster: Cluster, run: str, step: str = "rest") -> str:
    """The run, once its step waits."""
    cluster.until(lambda: cluster.read(run).states.get(step) == "waiting", "it waits")
    return run


def send(cluster: Cluster, event: str, key: str = "", data: Any = None, **words: Any) -> Sent:
    return send_signal(cluster.tenant, event, key=key, data=data, **words)


def kept(cluster: Cluster, event: str) -> list[Signal]:
    return list_signals(cluster.tenant, name=event, state="kept", per_page=100).items


def add_wait(
    connection: sa.Connection, tenant: str, event: str | None, row: str = "ready", step: str = "waiting"
) -> str:
    """Rows of a run whose step waits, for an event or (None) not yet; gives the run."""
    names = {"tenant": tenant, "row": row, "step": step, "event": event}
    run = str(connection.execute(sa.text(A_RUN), names).scalar_one())
    connection.execute(sa.text(ITS_STEP), names | {"run": run})
    connection.execute(sa.text(ITS_WAIT), names | {"run": run})
    return run


def open_wait(connection: sa.Connection, tenant: str, run: str, event: str) -> None:
    """What a worker does in the transaction that begins a wait."""
    names = {"tenant": tenant, "run": run, "item": "", "closer": 1, "step": "rest", "event": event, "key": ""}
    for statement in (signals.LOCK, signals.AWAIT, signals.TAKE_KEPT):
        connection.exec_driver_sql(statement, names)


def test_a_signal_ends_the_wait_and_both_say_so(cluster: Cluster) -> None:
    run = waiting(cluster, cluster.start([wait("one.paid", key="o-1"), wait("one.paid", "other", key="o-2")]))
    waiting(cluster, run, "other")
    report = read_progress(cluster.tenant, run)
    assert [step.waits_for.told for step in awaited(report.steps) if step.waits_for] == [
        "one.paid o-1",
        "one.paid o-2",
    ]
    assert [step.waits_until for step in report.steps] == [None, None]
    sent = send(cluster, "one.paid", "o-1", {"amount": 3})
    assert (sent.state, sent.run_id, sent.step, sent.item) == ("delivered", run, "rest", None)
    cluster.until(lambda: cluster.read(run).states["rest"] == "succeeded", "the one goes on")
    assert cluster.read(run).states["other"] == "waiting"
    send(cluster, "one.paid", "o-2")
    record = cluster.finish(run)
    assert (record.status, record.steps["rest"].output, record.steps["other"].output) == (
        "succeeded",
        {"amount": 3},
        None,
    )
    told = [(step, data) for kind, step, _, data in record.events if kind == "signal.received"]
    assert told[0] == ("rest", {"signal": sent.id, "event": "one.paid", "key": "o-1"})
    assert [step for step, _ in told] == ["rest", "other"]
    found = read_signal(cluster.tenant, sent.id)
    assert (found.state, found.run_id, found.data) == ("delivered", run, {"amount": 3})


def test_who_has_waited_longest_gets_it_and_what_comes_twice_is_kept(cluster: Cluster) -> None:
    runs = [waiting(cluster, cluster.start([wait("two.paid")])) for _ in range(3)]
    assert [send(cluster, "two.paid", data=number).run_id for number in range(3)] == runs
    late = [send(cluster, "two.paid", data=number) for number in (3, 4)]
    assert {each.state for each in late} == {"kept"}
    assert [cluster.finish(run).output for run in runs] == [0, 1, 2]
    assert [cluster.run([wait("two.paid", timeout="20s")]).output for _ in late] == [3, 4]
    assert kept(cluster, "two.paid") == []


def test_a_signal_after_the_timeout_is_kept_for_the_next(cluster: Cluster) -> None:
    record = cluster.run([wait("late.paid", key="o-1", timeout="50ms")])
    assert (record.status, record.states) == ("failed", {"rest": "timed_out"})
    assert record.error is not None
    assert (record.error["code"], record.cause) == ("EVENT_DID_NOT_COME", "user")
    assert send(cluster, "late.paid", "o-1").state == "kept"
    assert cluster.run([wait("late.paid", key="o-1")]).status == "succeeded"


def test_a_signal_for_nobody_is_refused_and_recorded(cluster: Cluster) -> None:
    with pytest.raises(Conflict) as refused:
        send(cluster, "nobody.paid", "o-1", only_if_awaited=True, idempotency_key="nobody-1")
    assert refused.value.code == "NOBODY_WAITS"
    with pytest.raises(Conflict, match="recorded as refused"):
        send(cluster, "nobody.paid", "o-1", only_if_awaited=True, idempotency_key="nobody-1")
    (found,) = list_signals(cluster.tenant, name="nobody.paid").items
    assert found.state == "refused"
    assert found.id in refused.value.message
    record = cluster.run([wait("nobody.paid", key="o-1", timeout="50ms")])
    assert record.states == {"rest": "timed_out"}


def test_sent_again_under_its_key_it_is_one_signal(cluster: Cluster) -> None:
    first, again = (send(cluster, "once.paid", data=1, idempotency_key="once-1") for _ in range(2))
    assert (again.id, again.is_replayed, first.is_replayed) == (first.id, True, False)
    with pytest.raises(Conflict, match="another request"):
        send(cluster, "once.paid", data=2, idempotency_key="once-1")
    assert len(kept(cluster, "once.paid")) == 1


def test_what_is_kept_no_longer_ends_nothing(cluster: Cluster) -> None:
    sent = send(cluster, "old.paid", keep_for="100ms")
    time.sleep(0.15)
    assert read_signal(cluster.tenant, sent.id).state == "expired"
    assert cluster.run([wait("old.paid", timeout="50ms")]).states == {"rest": "timed_out"}
    query = sa.text("SELECT state FROM signals WHERE id = :signal")

    def is_swept() -> bool:
        with tenant_session(cluster.tenant) as connection:
            return bool(connection.execute(query, {"signal": sent.id}).scalar_one() == "expired")

    cluster.until(is_swept, "the sweep has seen it")


def test_another_tenants_signal_is_not_ours(cluster: Cluster) -> None:
    run = waiting(cluster, cluster.start([wait("ours.paid", key="o-1")]))
    other = str(cluster.database.tenant_b)
    sent = send_signal(other, "ours.paid", key="o-1")
    assert sent.state == "kept"
    assert list_signals(cluster.tenant, name="ours.paid").total == 0
    send(cluster, "ours.paid", "o-1")
    assert cluster.finish(run).status == "succeeded"
    assert read_signal(other, sent.id).state == "kept"


def test_a_paused_run_keeps_its_signal_until_it_goes_on(cluster: Cluster) -> None:
    definition = [wait("paused.paid", timeout="1h")]
    run = waiting(cluster, cluster.start(definition))
    pause_run(cluster.tenant, run)
    assert send(cluster, "paused.paid", data=7).run_id == run
    assert send(cluster, "paused.paid", data=8).state == "kept"
    with tenant_session(cluster.tenant) as connection:
        is_held = "SELECT due_at > now() + interval '1 year' FROM segments WHERE run_id = :run"
        assert connection.execute(sa.text(is_held), {"run": run}).scalar_one(), "nobody tries to claim it"
    time.sleep(0.5)
    assert (cluster.read(run).status, cluster.read(run).states) == ("paused", {"rest": "waiting"})
    resume_run(cluster.tenant, run)
    assert cluster.finish(run).output == 7


def test_a_cancelled_run_gets_none(cluster: Cluster) -> None:
    run = waiting(cluster, cluster.start([wait("gone.paid")]))
    cluster.cancel(run)
    assert send(cluster, "gone.paid").state == "kept"
    assert cluster.finish(run).status == "cancelled"
    assert cluster.run([wait("gone.paid")]).status == "succeeded"


def test_a_failed_try_takes_its_wait_along(cluster: Cluster) -> None:
    fails = {"id": "bad", "type": "fail", "needs": ["first"], "with": {"message": "no"}}
    steps = [wait("tried.paid"), {"id": "first", "type": "wait", "with": {"duration": "200ms"}}, fails]
    caught = {"id": "guarded", "type": "try", "steps": steps, "catch": [{"steps": [wait("tried.paid", "again")]}]}
    run = waiting(cluster, cluster.start([caught]), "guarded/catch0/again")
    assert cluster.read(run).states["guarded/try/rest"] == "cancelled"
    sent = send(cluster, "tried.paid", data=5)
    assert sent.step == "guarded/catch0/again"
    assert cluster.finish(run).output == 5


def test_many_waits_and_signals_of_one_key_at_once_find_each_other(cluster: Cluster) -> None:
    """Half of the signals come before their waits, half after, and all at the same time."""
    version = cluster.save([wait("crowd.paid", timeout="30s")])
    with ThreadPoolExecutor(8) as threads:
        runs, sent = [], []
        for number in range(AT_ONCE):
            runs.append(threads.submit(cluster.start, version))
            sent.append(threads.submit(send, cluster, "crowd.paid", data=number))
    records = [cluster.finish(run.result(), 40) for run in runs]
    assert {record.status for record in records} == {"succeeded"}
    assert sorted(record.output for record in records) == list(range(AT_ONCE))
    assert all(len(record.events_of("signal.received")) == 1 for record in records)
    for each in sent:
        found = read_signal(cluster.tenant, each.result().id)
        assert next(record.output for record in records if record.id == found.run_id) == found.data


def test_a_signal_and_the_timeout_at_once_have_one_outcome(cluster: Cluster) -> None:
    version = cluster.save([wait("race.paid", key="${{ input.key }}", timeout="${{ input.long }}")], **ANY_KEY)
    keys = [f"k{number}" for number in range(AT_ONCE)]
    runs = {
        key: cluster.start(version, {"key": key, "long": f"{400 + 10 * number}ms"}) for number, key in enumerate(keys)
    }
    for run in runs.values():
        waiting(cluster, run)

    def when_it_ends(key: str) -> Sent:
        due = sa.text("SELECT extract(epoch FROM due_at - now())::float8 FROM segments WHERE run_id = :run")
        with tenant_session(cluster.tenant) as connection:
            left = connection.execute(due, {"run": runs[key]}).scalar()
        time.sleep(max(0.0, float(left or 0.0) + 0.002 * (keys.index(key) % 9 - 4)))
        return send(cluster, "race.paid", key, key)

    with ThreadPoolExecutor(16) as threads:
        sent = dict(zip(keys, threads.map(when_it_ends, keys), strict=True))
    cluster.finish_all(list(runs.values()))
    outcomes: Counter[str] = Counter()
    for key, run in runs.items():
        record, signal = cluster.read(run), read_signal(cluster.tenant, sent[key].id)
        is_given = signal.state == "delivered"
        assert is_given == (signal.run_id == run)
        assert (record.states["rest"], record.output) == (("succeeded", key) if is_given else ("timed_out", None)), key
        outcomes[signal.state] += 1
    assert sum(outcomes.values()) == AT_ONCE


def test_a_worker_that_dies_with_a_signal_in_its_hands_loses_none(make_cluster: Callable[..., Cluster]) -> None:
    """Killed before it settles: first where the wait begins, then where it ends."""
    cluster = make_cluster()
    cluster.beat()
    worker = cluster.worker(app="tests.integration.workflows.failpoints.killed")
    cluster.wait_ready()

    def die_then_live() -> None:
        cluster.until(lambda: not worker.runs, "the worker dies")
        worker.kill()
        worker.start()

    with cluster.active():
        (cluster.folder / "before-settle").touch()
        run = cluster.start([wait("dying.paid", timeout="1h")])
        die_then_live()
        waiting(cluster, run)
        (cluster.folder / "before-settle").touch()
        assert send(cluster, "dying.paid", data=1).run_id == run
        die_then_live()
        assert send(cluster, "dying.paid", data=2).state == "kept"
        record = cluster.finish(run, 30)
        assert (record.status, record.output, record.live) == ("succeeded", 1, 0)
        assert cluster.run([wait("dying.paid")]).output == 2


@pytest.mark.parametrize(
    ("row", "step", "state"),
    [
        ("ready", "waiting", "delivered"),
        ("leased", "waiting", "kept"),
        ("ready", "timed_out", "kept"),  # recorded by a worker that died before it settled
    ],
)
def test_only_a_wait_that_is_open_is_given_a_signal(tenant: str, row: str, step: str, state: str) -> None:
    with tenant_session(tenant) as connection:
        add_wait(connection, tenant, f"open.{row}.{step}", row, step)
    assert send_signal(tenant, f"open.{row}.{step}").state == state


def test_a_signal_waits_for_a_wait_that_is_being_opened(tenant: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        with tenant_session(tenant) as connection:
            run = add_wait(connection, tenant, None)
            open_wait(connection, tenant, run, "opening.paid")
            sent = threads.submit(send_signal, tenant, "opening.paid")
            time.sleep(A_WHILE)
            assert not sent.done()
        assert (sent.result().state, sent.result().run_id) == ("delivered", run)


def test_a_wait_waits_for_a_signal_that_is_being_kept(tenant: str) -> None:
    with tenant_session(tenant) as connection:
        run = add_wait(connection, tenant, None)

    def begin_to_wait() -> None:
        with tenant_session(tenant) as connection:
            open_wait(connection, tenant, run, "keeping.paid")

    with ThreadPoolExecutor(1) as threads:
        with tenant_session(tenant) as connection:
            signal = str(uuid_utils.uuid7())
            words = {"tenant": tenant, "signal": signal, "event": "keeping.paid", "key": "", "data": "1", "keep": 60}
            assert not signals.hand_out(connection, words)
            opened = threads.submit(begin_to_wait)
            time.sleep(A_WHILE)
            assert not opened.done()
        opened.result()
    assert (read_signal(tenant, signal).state, read_signal(tenant, signal).run_id) == ("delivered", run)


@pytest.mark.parametrize(
    ("words", "pointer"),
    [
        ({"event": "two words"}, "/name"),
        ({"event": ""}, "/name"),
        ({"event": "a" * 101}, "/name"),
        ({"event": "a\n"}, "/name"),
        ({"event": "a", "key": "k" * 201}, "/key"),
        ({"event": "a", "key": "a\x00"}, "/key"),
        ({"event": "a", "data": "x" * 300_000}, "/data"),
        ({"event": "a", "data": {"x": "\x00"}}, "/data"),
        ({"event": "a", "keep_for": "31d"}, "/keep_for"),
        ({"event": "a", "keep_for": "soon"}, "/keep_for"),
    ],
)
def test_a_signal_that_cannot_be_kept_is_refused(tenant: str, words: dict[str, Any], pointer: str) -> None:
    before = list_signals(tenant).total
    with pytest.raises(InvalidInput) as refused:
        send_signal(tenant, **words)
    assert [each.path for each in refused.value.details] == [pointer]
    assert refused.value.hint
    assert list_signals(tenant).total == before
