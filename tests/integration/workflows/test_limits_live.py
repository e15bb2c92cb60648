"""Limits on a cluster at work: slots pass on by themselves, whatever becomes of runs, and beat in the middle of it."""

import signal
import time
from collections.abc import Callable

from nexusflow.workflows.starts.control import pause_run
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import transform

LIMIT = 3


def test_slots_pass_from_run_to_run_whatever_they_end_with(cluster: Cluster, vendor: Vendor) -> None:
    call = vendor.step("call", body={"sleep": 0.15, "answer": 1})
    version = cluster.save([call], concurrency={"limit": LIMIT}, name="passing-on")
    runs = [cluster.start(version) for _ in range(18)]
    began = time.monotonic()
    for run in runs[9:12]:
        cluster.cancel(run)
    cluster.finish_all(runs)
    took = time.monotonic() - began
    calls = [each for run in runs for each in vendor.of(run)]
    assert len(calls) == len(runs) - 3
    assert max(sum(other.at <= each.at < other.until for other in calls) for each in calls) <= LIMIT
    statuses = [cluster.read(run).status for run in runs]
    assert statuses == ["succeeded"] * 9 + ["cancelled"] * 3 + ["succeeded"] * 6
    # No slower than passing a slot on takes: the sweep alone would take three seconds more.
    assert took < 5


def test_what_nobody_heard_is_found_by_the_next_beat(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.worker()
    beat = cluster.beat()
    cluster.wait_ready()
    version = cluster.save([transform("a", jq="1")], concurrency={"limit": 1})
    resting = cluster.save([{"id": "rest", "type": "wait", "with": {"duration": "1h"}}], singleton=True, name="resting")
    first = cluster.start(version)
    assert cluster.finish(first).status == "succeeded"
    only = cluster.start(resting)
    cluster.until(lambda: cluster.read(only).states == {"rest": "waiting"}, "it waits")
    beat.signal(signal.SIGKILL)
    with cluster.active():
        assert pause_run(cluster.tenant, only) == "paused"
    waiting = [cluster.start(version) for _ in range(3)]
    assert cluster.start(resting) == only
    cluster.beat("another")
    cluster.wait_ready()
    cluster.finish_all(waiting)
    assert {cluster.read(run).status for run in waiting} == {"succeeded"}


def test_a_held_run_that_does_not_begin_in_time_is_given_up(cluster: Cluster) -> None:
    rest = {"id": "rest", "type": "wait", "with": {"duration": "1h"}}
    version = cluster.save([rest], concurrency={"limit": 1}, queue_timeout="1s", name="held")
    first, held = cluster.start(version), cluster.start(version)
    cluster.until(lambda: cluster.read(held).status == "timed_out", "it is given up")
    assert (cluster.read(held).error or {})["code"] == "QUEUE_TIMED_OUT"
    assert cluster.read(first).status == "running"
    cluster.cancel(first)
    cluster.finish(first)
