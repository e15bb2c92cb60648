"""What people do with a run that goes on: pause it, resume it, cancel it."""

import time
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.workflows.starts.control import cancel_run, pause_run, resume_run
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform

LONG_ENOUGH = 1.0
ONE_YEAR = 366 * 86_400.0
DUE = sa.text("SELECT extract(epoch FROM due_at)::float8 FROM segments WHERE run_id = :run")


def _do(cluster: Cluster, change: Any, run: str) -> str:
    with cluster.active():
        return str(change(cluster.tenant, run))


def _due(cluster: Cluster, run: str) -> float:
    with cluster.active(), control_session() as connection:
        return float(connection.execute(DUE, {"run": run}).scalar_one())


def test_a_paused_run_starts_nothing_until_it_is_resumed(cluster: Cluster, vendor: Vendor) -> None:
    first = vendor.step("first", body={"sleep": 0.5, "answer": 1})
    second = vendor.step("second", "first", body={"answer": 2})
    run = cluster.start([first, second, transform("last", "second", jq="3")])
    cluster.until(lambda: len(vendor.of(run)) == 1, "the first call is under way")
    assert _do(cluster, pause_run, run) == "paused"
    assert _do(cluster, pause_run, run) == "paused"
    cluster.until(lambda: "first" in cluster.read(run).states, "what ran is recorded")
    time.sleep(LONG_ENOUGH)
    record = cluster.read(run)
    assert (record.status, record.states) == ("paused", {"first": "succeeded"})
    assert _do(cluster, resume_run, run) == "running"
    record = cluster.finish(run)
    assert record.status == "succeeded"
    assert set(vendor.keys(run).values()) == {1}
    assert [kind for kind, *_ in record.events if kind in ("run.paused", "run.resumed")] == [
        "run.paused",
        "run.resumed",
    ]
    assert _do(cluster, pause_run, run) == _do(cluster, resume_run, run) == "succeeded"


def test_a_pause_and_a_first_claim_do_not_wait_for_each_other(cluster: Cluster) -> None:
    runs = []
    for number in range(60):
        runs.append(cluster.start([transform("only", jq="1")]))
        time.sleep(number % 6 * 0.004)
        _do(cluster, pause_run, runs[-1])
        _do(cluster, resume_run, runs[-1])
    cluster.finish_all(runs)


def test_a_wait_of_a_paused_run_is_put_off_and_back(cluster: Cluster) -> None:
    run = cluster.start([{"id": "rest", "type": "wait", "with": {"duration": "1h"}}])
    cluster.until(lambda: cluster.read(run).states == {"rest": "waiting"}, "it waits")
    due = _due(cluster, run)
    _do(cluster, pause_run, run)
    assert _due(cluster, run) - due > ONE_YEAR
    _do(cluster, resume_run, run)
    assert _due(cluster, run) == due
    _do(cluster, cancel_run, run)


def test_a_paused_foreach_goes_on_where_it_was(cluster: Cluster, vendor: Vendor) -> None:
    put = vendor.step("put", body={"sleep": 0.05, "answer": "${{ item }}"})
    numbers = transform("numbers", jq="[range(40)]")
    each = foreach("each", "${{ steps.numbers.output }}", put, needs="numbers", max_parallel=3)
    run = cluster.start([numbers, each])
    for count in (3, 12, 20):
        cluster.until(lambda count=count: len(vendor.of(run)) >= count, "some items are done")  # type: ignore[misc]
        _do(cluster, pause_run, run)
        time.sleep(LONG_ENOUGH)
        seen = len(vendor.of(run))
        time.sleep(LONG_ENOUGH / 2)
        assert len(vendor.of(run)) == seen < 40
        _do(cluster, resume_run, run)
    record = cluster.finish(run)
    assert [each["body"] for each in record.output] == list(range(40))
    assert set(vendor.keys(run).values()) == {1}


def test_what_a_join_does_not_need_stops_behind_the_call_that_it_is_at(cluster: Cluster, vendor: Vendor) -> None:
    slow = [vendor.step("slow", body={"sleep": 0.8}), vendor.step("behind", "slow"), vendor.step("last", "behind")]
    quick = vendor.step("quick", body={"sleep": 0.2, "answer": 1})
    later = {"id": "later", "type": "wait", "with": {"duration": "1h"}}
    stubborn = vendor.step("stubborn", body={"fail": 9}, retry={"max": 9, "initial": "1h"})
    race = transform("race", "quick last later stubborn", join={"n": 1, "rest": "cancel"}, jq="1")
    run = cluster.start([quick, *slow, later, stubborn, race])
    record = cluster.finish(run)
    assert (record.status, record.live) == ("succeeded", 0)
    ended = {"quick": "succeeded", "race": "succeeded", "slow": "succeeded"}
    assert record.states == {**ended, **dict.fromkeys(("behind", "last", "later", "stubborn"), "cancelled")}
    assert set(vendor.keys(run)) == {"quick", "slow", "stubborn"}


def test_a_paused_run_can_be_cancelled(cluster: Cluster) -> None:
    run = cluster.start([{"id": "rest", "type": "wait", "with": {"duration": "1h"}}])
    cluster.until(lambda: cluster.read(run).states == {"rest": "waiting"}, "it waits")
    assert _do(cluster, pause_run, run) == "paused"
    _do(cluster, cancel_run, run)
    assert cluster.finish(run).status == "cancelled"
    assert _do(cluster, resume_run, run) == "cancelled"
    assert [kind for kind, *_ in cluster.read(run).events][-1] == "run.cancelled"
