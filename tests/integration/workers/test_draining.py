"""A worker that is told to end: what runs is finished and kept, nothing else is taken, what is left is handed back."""

import signal
import threading
import time
import weakref
from collections.abc import Callable

import psycopg
import pytest

from nexusflow.operations.broker import look
from nexusflow.workers.draining import ids_of
from tests.integration.vendor import Vendor
from tests.integration.workers.operator import Operator

SLOTS = 2


class Request:
    """What Celery keeps of a task that runs."""

    id = "task"


QUICKLY = ("--without-mingle", "--without-gossip")


def rows(operator: Operator, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(operator.cluster.database.owner_url) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def slow_steps(operator: Operator, vendor: Vendor, seconds: float, count: int = 8) -> list[str]:
    """Runs of one slow step each, more than there are slots, so that messages are fetched ahead."""
    version = operator.cluster.save([vendor.step("slow", body={"sleep": seconds, "answer": 1}, timeout="60s")])
    return [operator.cluster.start(version) for _ in range(count)]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_draining_worker_finishes_what_runs_and_takes_nothing_new(
    make_operator: Callable[..., Operator], vendor: Vendor, pool: str
) -> None:
    operator = make_operator(lease_seconds=1.5, hint_seconds=60)
    operator.cluster.beat()
    worker = operator.worker("-Q", "integration", "-c", str(SLOTS), "-P", pool, *QUICKLY)
    runs = slow_steps(operator, vendor, 2.5)
    operator.cluster.until(lambda: sum(len(vendor.of(run)) for run in runs) == SLOTS, "the slots are full")
    operator.signal(worker, signal.SIGTERM)
    state = "SELECT state FROM processes WHERE kind = 'worker'"
    operator.cluster.until(lambda: rows(operator, state) == [("draining",)], "it says that it drains", 2)
    assert operator.ends(worker) == 0
    assert rows(operator, state) == []
    called = [run for run in runs if vendor.of(run)]
    assert len(called) == SLOTS
    # Longer than a lease, and nobody took it away: one call, one record, no loss.
    recovered = "SELECT count(*) FROM run_events WHERE type = 'segment.recovered'"
    done = rows(operator, "SELECT count(*) FROM steps WHERE step = 'slow' AND state = 'succeeded'")
    assert (done, rows(operator, recovered)) == ([(SLOTS,)], [(0,)])
    with operator.cluster.active():
        operator.cluster.until(
            lambda: look().depths["integration"].messages == len(runs) - SLOTS, "what was fetched ahead went back", 5
        )


@pytest.mark.parametrize(
    ("pool", "given"),
    [("threads", (signal.SIGTERM,)), ("prefork", (signal.SIGTERM, signal.SIGTERM))],
)
def test_what_does_not_finish_in_time_is_handed_back_at_once(
    make_operator: Callable[..., Operator], vendor: Vendor, pool: str, given: tuple[signal.Signals, ...]
) -> None:
    patience = 1.0 if given == (signal.SIGTERM,) else 60.0
    operator = make_operator(lease_seconds=60, heartbeat_seconds=1, hint_seconds=60, drain_seconds=patience)
    operator.cluster.beat()
    worker = operator.worker("-Q", "integration", "-c", str(SLOTS), "-P", pool, *QUICKLY)
    (run,) = slow_steps(operator, vendor, 6.0, count=1)
    operator.cluster.until(lambda: len(vendor.of(run)) == 1, "the step runs")
    began = time.monotonic()
    for number in given:
        operator.signal(worker, number)
        time.sleep(0.3)
    assert operator.ends(worker) == 0
    assert time.monotonic() - began < patience % 60 + 3
    assert rows(operator, "SELECT state, losses FROM segments WHERE queue = 'integration'") == [("ready", 0)]
    assert rows(operator, "SELECT name FROM processes WHERE kind = 'worker'") == []
    hinted = "SELECT published_at IS NOT NULL FROM segments WHERE queue = 'integration'"
    operator.cluster.until(lambda: rows(operator, hinted) == [(True,)], "it is published again", 3)
    reasons = rows(operator, "SELECT data->>'reason' FROM run_events WHERE type = 'segment.recovered'")
    assert reasons == [("worker ended",)]


def test_an_idle_worker_ends_at_once(make_operator: Callable[..., Operator]) -> None:
    """Its consumer waits for the broker when the signal comes."""
    operator = make_operator()
    worker = operator.worker("-Q", "integration", "-c", str(SLOTS), *QUICKLY, "--without-heartbeat")
    time.sleep(1.5)  # what it does at its start is over
    began = time.monotonic()
    operator.signal(worker, signal.SIGTERM)
    assert operator.ends(worker) == 0
    assert time.monotonic() - began < 3


def test_a_worker_that_never_met_its_broker_ends_at_once(make_operator: Callable[..., Operator]) -> None:
    operator = make_operator("amqp://guest:guest@127.0.0.1:9//")
    worker = operator.celery("worker", "-Q", "workflow", "-c", "1")
    operator.cluster.until(lambda: worker.says("Cannot connect"), "it looks for its broker", 30)
    operator.signal(worker, signal.SIGQUIT)
    assert operator.ends(worker, 5) == 0


def test_tasks_are_told_while_others_begin() -> None:
    """A beat, or a worker's end, must not fail for it."""
    requests = weakref.WeakSet([Request() for _ in range(64)])
    is_over = threading.Event()

    def begin_and_end() -> None:
        while not is_over.is_set():
            requests.add(request := Request())
            requests.discard(request)

    kept = list(requests)
    busy = threading.Thread(target=begin_and_end)
    busy.start()
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            assert len(ids_of(requests)) >= len(kept)
    finally:
        is_over.set()
        busy.join()
