"""What the engine must survive: killed and frozen workers, and messages lost, doubled and late."""

import signal
import time
from collections.abc import Callable
from typing import Any

import psycopg
from celery import Celery

from nexusflow.queues import INTEGRATION, QUEUE_NAMES, WORKFLOW
from nexusflow.workflows.planning.messages import task_name
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform

FAILPOINTS = "tests.integration.workflows.failpoints"
MakeCluster = Callable[..., Cluster]
MOMENTS = [("before-settle", 0), ("before-publish", 0), ("before-return", 1), ("before-publish", 3)]
"""Where a worker is killed, and after how many of the vendor's calls."""


def _fan(vendor: Vendor, **words: Any) -> list[dict[str, Any]]:
    """A start, a chord of two, its body, and a foreach behind it."""
    return [
        vendor.step("start", body={"answer": [1, 2, 3]}),
        vendor.step("left", "start", body={"answer": 1}, **words),
        vendor.step("right", "start", body={"sleep": 0.1, "answer": 2}),
        transform("both", "left right", jq="1"),
        foreach(
            "each",
            "${{ steps.start.output.body }}",
            vendor.step("put", body={"answer": "${{ item }}"}),
            needs="both start",
        ),
        vendor.step("end", "each", body={}),
    ]


KEYS = {"start", "left", "right", "each/put/0", "each/put/1", "each/put/2", "end"}
STEPS = {
    "start",
    "left",
    "right",
    "both",
    "each",
    "end",
    *(f"each[{n}]" for n in range(3)),
    *(f"each/put[{n}]" for n in range(3)),
}


def _assert_right(cluster: Cluster, vendor: Vendor, run: str, seconds: float = 30) -> None:
    record = cluster.finish(run, seconds)
    assert record.status == "succeeded", record.error
    assert record.states == dict.fromkeys(STEPS, "succeeded")
    assert set(vendor.keys(run)) == KEYS
    told = [(step, item) for kind, step, item, _ in record.events if kind == "step.succeeded"]
    assert len(told) == len(set(told))
    assert record.live == 0


def test_a_worker_killed_at_any_point_loses_nothing(make_cluster: MakeCluster, vendor: Vendor) -> None:
    """Killed between effect and record, between record and publication, between record and the task's return."""
    cluster = make_cluster()
    cluster.beat()
    worker = cluster.worker(app=f"{FAILPOINTS}.killed")
    cluster.wait_ready()
    version = cluster.save(_fan(vendor))
    for point, moment in MOMENTS:
        run = cluster.start(version)
        cluster.until(lambda count=moment, run=run: len(vendor.of(run)) > count, "the run is under way")
        (cluster.folder / point).touch()
        cluster.until(lambda: not worker.runs, f"the worker dies {point}")
        worker.kill()
        worker.start()
        _assert_right(cluster, vendor, run)
        repeated = {key: count for key, count in vendor.keys(run).items() if count > 1}
        assert len(repeated) <= 3, repeated


def test_every_message_twice_changes_nothing(make_cluster: MakeCluster, vendor: Vendor) -> None:
    cluster = make_cluster()
    cluster.worker(app=f"{FAILPOINTS}.doubled")
    cluster.beat(app=f"{FAILPOINTS}.doubled")
    cluster.wait_ready()
    version = cluster.save(_fan(vendor))
    runs = [cluster.start(version) for _ in range(15)]
    for run in runs:
        _assert_right(cluster, vendor, run)
        assert set(vendor.keys(run).values()) == {1}


def test_messages_for_what_is_over_are_ignored(cluster: Cluster, vendor: Vendor) -> None:
    """Hours late, in any order, for segments that are done, and for runs and segments that never were."""
    version = cluster.save(_fan(vendor))
    run = cluster.start(version)
    _assert_right(cluster, vendor, run)
    before = cluster.read(run)
    calls = len(vendor.of(run))
    app = Celery(broker=cluster.broker, set_as_current=False)
    app.conf.task_create_missing_queues = False
    app.conf.task_queues = []
    nowhere = run[:-4] + "0000"
    for segment in reversed(version.plan.segments):
        for item in ("", "0", "1.1"):
            for target in (run, nowhere):
                arguments = (cluster.tenant, target, segment.id, item, 0)
                app.send_task(
                    task_name(segment.queue), arguments, exchange=segment.queue, routing_key=segment.queue, queue=None
                )
    _assert_right(cluster, vendor, cluster.start(version))
    assert cluster.read(run) == before
    assert len(vendor.of(run)) == calls


def test_messages_that_never_arrive_are_sent_again(make_cluster: MakeCluster, vendor: Vendor, server_pool: Any) -> None:
    cluster = make_cluster()
    cluster.beat()
    cluster.worker()
    cluster.wait_ready()
    version = cluster.save(_fan(vendor))
    runs = [cluster.start(version) for _ in range(10)]
    for _ in range(3):
        cluster.until(lambda: any(vendor.of(run) for run in runs), "something runs")
        with server_pool.get("valkey").client() as client:
            client.delete(*QUEUE_NAMES)
        time.sleep(0.05)
    for run in runs:
        _assert_right(cluster, vendor, run)
        assert set(vendor.keys(run).values()) == {1}


def test_a_frozen_worker_cannot_write_when_it_comes_back(make_cluster: MakeCluster, vendor: Vendor) -> None:
    cluster = make_cluster()
    cluster.beat()
    frozen = cluster.worker("frozen")
    cluster.wait_ready()
    run = cluster.start([vendor.step("a", body={"sleep": 0.5, "answer": 1}), vendor.step("b", "a", body={})])
    cluster.until(lambda: len(vendor.of(run)) == 1, "the step runs")
    frozen.signal(signal.SIGSTOP)
    cluster.worker("second")
    record = cluster.finish(run, 30)
    frozen.signal(signal.SIGCONT)
    assert record.status == "succeeded"
    assert vendor.keys(run) == {"a": 2, "b": 1}
    (recovered,) = record.events_of("segment.recovered")
    assert recovered["reason"] == "lease expired"
    # The frozen worker finds its answer and has nothing to write it to.
    again = cluster.start([vendor.step("c", body={})])
    assert cluster.finish(again).status == "succeeded"
    cluster.until(lambda: frozen.says("ignored"), "the frozen worker gives its segment up")
    assert cluster.read(run) == record


def test_a_step_that_kills_its_workers_fails_the_third_time(make_cluster: MakeCluster, vendor: Vendor) -> None:
    cluster = make_cluster()
    cluster.beat()
    worker = cluster.worker(queues=[INTEGRATION])
    cluster.worker("other", [WORKFLOW])
    cluster.wait_ready()
    run = cluster.start([vendor.step("a", body={"hang": True}), vendor.step("b", "a", body={})])
    for deaths in range(1, 4):
        cluster.until(lambda count=deaths: len(vendor.of(run)) == count, f"attempt {deaths}")
        worker.kill()
        worker.start()
    record = cluster.finish(run, 30)
    assert (record.status, record.cause) == ("failed", "platform")
    assert record.error is not None
    assert (record.error["code"], record.error["step"]) == ("WORKER_LOST", "a")
    assert vendor.keys(run) == {"a": 3}
    assert [data["losses"] for data in record.events_of("segment.recovered")] == [1, 2, 3]


def test_a_lost_child_of_a_prefork_pool_is_replaced_at_once(make_cluster: MakeCluster, vendor: Vendor) -> None:
    """The worker lives on, sees its child die and gives the lease back long before it runs out."""
    import psutil

    cluster = make_cluster(lease_seconds=30.0)
    cluster.beat()
    worker = cluster.worker(pool="prefork", concurrency=2)
    cluster.wait_ready()
    assert worker.process is not None
    run = cluster.start([vendor.step("a", body={"sleep": 1.0, "answer": 1}), vendor.step("b", "a", body={})])
    cluster.until(lambda: len(vendor.of(run)) == 1, "the step runs")
    with cluster.active():
        children = psutil.Process(worker.process.pid).children()
    for child in children:
        child.kill()
    record = cluster.finish(run, 15)
    assert record.status == "succeeded"
    assert vendor.keys(run) == {"a": 2, "b": 1}


def test_heartbeats_keep_a_step_longer_than_its_lease(make_cluster: MakeCluster, vendor: Vendor) -> None:
    cluster = make_cluster()
    cluster.beat()
    cluster.worker()
    cluster.wait_ready()
    record = cluster.run([vendor.step("a", body={"sleep": 5.0})])
    assert record.status == "succeeded"
    assert vendor.keys(record.id) == {"a": 1}
    assert record.events_of("segment.recovered") == []


def test_two_beats_and_three_workers_do_everything_once(make_cluster: MakeCluster, vendor: Vendor) -> None:
    """The pools of the Procfile, doubled dispatchers, and runs enough to make them meet."""
    cluster = make_cluster()
    cluster.beat("beat1")
    cluster.beat("beat2")
    cluster.worker("w", [WORKFLOW], pool="prefork", concurrency=2)
    cluster.worker("i", [INTEGRATION])
    cluster.wait_ready()
    version = cluster.save(_fan(vendor))
    runs = [cluster.start(version) for _ in range(20)]
    for run in runs:
        _assert_right(cluster, vendor, run)
        assert set(vendor.keys(run).values()) == {1}


def test_what_an_ended_run_left_behind_is_cleared_away(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.beat()
    cluster.worker()
    cluster.wait_ready()
    record = cluster.run([transform("a")])
    with psycopg.connect(cluster.database.owner_url) as connection:
        connection.execute(
            "INSERT INTO segments (run_id, segment, tenant_id, queue, published_at) VALUES (%s, 0, %s, %s, now())",
            (record.id, cluster.tenant, WORKFLOW),
        )
    assert cluster.read(record.id).live == 1
    cluster.until(lambda: cluster.read(record.id).live == 0, "the row is gone")


def test_killed_again_and_again_in_a_large_foreach(make_cluster: MakeCluster, vendor: Vendor) -> None:
    """Ranges of items, items of many segments and retries: each item has one outcome, under one key."""
    cluster = make_cluster()
    cluster.beat()
    worker = cluster.worker()
    cluster.wait_ready()
    body = {"fail": 1, "answer": "${{ item }}"}
    retry = {"max": 5, "backoff": "constant", "initial": "100ms"}
    one = foreach("one", list(range(150)), vendor.step("put", body=body, retry=retry), max_parallel=10)
    pair = [vendor.step("a", body={"answer": "${{ item }}"}), vendor.step("b", body=body, retry=retry)]
    two = foreach("two", list(range(60)), *pair, max_parallel=10, output="${{ steps.a.output.body }}")
    run = cluster.start([one, two], output="${{ steps.two.output }}")
    for calls in (30, 150, 300):
        cluster.until(lambda count=calls: len(vendor.of(run)) >= count, f"{calls} calls")
        worker.kill()
        worker.start()
    record = cluster.finish(run, 60)
    assert record.status == "succeeded", record.error
    assert record.output == list(range(60))
    assert [record.steps[f"one/put[{n}]"].output["body"] for n in range(150)] == list(range(150))
    wanted = {f"one/put/{n}" for n in range(150)} | {f"two/{name}/{n}" for name in "ab" for n in range(60)}
    assert set(vendor.keys(run)) == wanted
    assert record.live == 0
