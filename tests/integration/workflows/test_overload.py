"""More work than the workers can do: queues stay as long as there is work, and all of it is done in the end."""

import time
from collections.abc import Callable

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.operations.broker import look
from nexusflow.workflows.clock.dispatch import FULL_AT
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform

RUNS, LANES = 26, 50
HINT_SECONDS = 0.6
READY = sa.text("SELECT count(*) FILTER (WHERE published_at IS NOT NULL), count(*) FROM segments WHERE state = 'ready'")


def _look(cluster: Cluster) -> tuple[int, int, int]:
    """Messages in the integration queue, segments published, segments ready."""
    with cluster.active():
        found = look().depths.get("integration")
        messages = found.messages if found is not None else 0  # nothing was published yet
        with control_session() as connection:
            published, ready = connection.execute(READY).one()
    return messages, published, ready


def test_an_overload_does_not_feed_on_itself(make_cluster: Callable[..., Cluster], vendor: Vendor) -> None:
    cluster = make_cluster(hint_seconds=HINT_SECONDS)
    cluster.worker("workflow", ["workflow"], concurrency=2)
    cluster.beat()
    cluster.wait_ready()
    put = vendor.step("put", body={"answer": "${{ item }}"})
    numbers = transform("numbers", jq=f"[range({LANES})]")
    each = foreach("each", "${{ steps.numbers.output }}", put, needs="numbers", max_parallel=LANES)
    runs = [cluster.start([numbers, each]) for _ in range(RUNS)]
    # Nobody serves the queue: every hint is old by far, and none of them is lost.
    cluster.until(lambda: _look(cluster)[2] == RUNS * LANES, "every lane is ready")
    time.sleep(HINT_SECONDS * 8)
    messages, published, ready = _look(cluster)
    assert ready == RUNS * LANES
    assert published >= FULL_AT * 0.8
    assert FULL_AT * 0.8 <= messages <= published * 1.25  # a few whose message was on its way when both were counted
    # What is made ready from now on waits in the rows, not in the queue.
    late = [cluster.start([numbers, each]) for _ in range(4)]
    cluster.until(lambda: _look(cluster)[2] == (RUNS + 4) * LANES, "the late-comers' lanes are ready")
    assert _look(cluster)[0] <= messages + LANES
    cluster.worker("integration", ["integration"], concurrency=16)
    cluster.finish_all([*runs, *late], 100)
    assert all(cluster.read(run).status == "succeeded" for run in [*runs, *late])
    assert set(vendor.keys(runs[0]).values()) == {1}


def test_a_run_that_does_not_start_in_time_is_given_up(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.beat()
    cluster.wait_ready()
    patient, hasty = (cluster.start([transform("a", jq="1")], **words) for words in ({}, {"queue_timeout": "1s"}))
    cluster.until(lambda: cluster.read(hasty).status == "timed_out", "it is given up")
    error = cluster.read(hasty).error or {}
    assert (error["code"], error["cause"]) == ("QUEUE_TIMED_OUT", "platform")
    cluster.worker()
    assert cluster.finish(patient).status == "succeeded"
    assert cluster.read(hasty).status == "timed_out"
