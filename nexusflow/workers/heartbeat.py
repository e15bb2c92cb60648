"""Heartbeats: one thread a worker renews, in one statement, the leases of what its pool really still runs.

With each beat the worker also says what it is and has done (``processes``). A worker that dies or stands still renews
nothing, so its leases run out; a lost child's are released at once. The thread lives until the pool is done, so that
a draining worker keeps what it finishes.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from billiard.process import current_process
from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker import state

from nexusflow.embedded.children import die_with_parent
from nexusflow.errors import ClusterUnusable
from nexusflow.log import get_logger
from nexusflow.settings import get_settings
from nexusflow.workers.draining import drain, ids_of
from nexusflow.workers.processes import Presence, grouped
from nexusflow.workflows.messaging.leases import release, renew
from nexusflow.workflows.rows import counters

log = get_logger(__name__)
RATE_SECONDS = 30.0
"""The span over which a worker tells its rate."""


class Rates:
    """Segments done a second, by queue, over the last ``RATE_SECONDS``."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def now(self, done: dict[str, int]) -> dict[str, float]:
        """The rates at this moment, at which so many had been done in all."""
        moment = time.monotonic()
        self._seen.append((moment, done))
        while len(self._seen) > 2 and moment - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        if moment - since < 0.1:
            return {}
        return {queue: round((number - before.get(queue, 0)) / (moment - since), 3) for queue, number in done.items()}


class Heartbeat(threading.Thread):
    """Renews what this worker runs until it is stopped; a database that is away is tried again at the next beat."""

    def __init__(self, worker: Any) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._stopped = threading.Event()
        self._hub = getattr(worker, "hub", None)
        self._rates = Rates()
        details = {
            "queues": list(getattr(worker, "served", ())),
            "pool": type(worker.pool).__module__.rpartition(".")[2].replace("thread", "threads"),
            "concurrency": worker.concurrency,
        }
        self._presence = Presence(worker.hostname, "worker", details)

    def run(self) -> None:
        """Beat."""
        drain.is_watched = True
        while not self._stopped.is_set():
            if state.should_stop not in (None, False):
                drain.ask()  # by Flower's button, or celery control shutdown
            if drain.is_asked and self._hub is not None:
                # A signal does not end the consumer's wait for its broker, which may last seconds; a call does.
                self._hub.call_soon(_nothing)
            patience = drain.patience()
            if patience <= 0:
                drain.leave(self._presence)
            try:
                self._beat()
            except ClusterUnusable as error:
                log.warning("heartbeat.failed", error=error.message)
            except Exception:  # a worker without a heartbeat would lose every long step: never end for a surprise
                log.exception("heartbeat.crashed")
            drain.woken.wait(min(get_settings().heartbeat_seconds, drain.patience()))
            drain.woken.clear()

    def _beat(self) -> None:
        running = ids_of(state.active_requests)
        renew(running)
        stats = grouped(counters.read_counts())
        stats |= {"busy": len(running), "per_second": self._rates.now(stats.get("segments", {}))}
        self._presence.say("draining" if drain.is_asked else "running", stats)

    def stop(self) -> None:
        """End after the current beat, and take the worker's row away."""
        self._stopped.set()
        drain.woken.set()
        self.join(get_settings().heartbeat_seconds + 1)
        try:
            self._presence.forget()
        except ClusterUnusable as error:
            log.warning("presence.left", error=error.message)


def _nothing() -> None:
    """What wakes a loop and is nothing else."""


_heartbeats: list[Heartbeat] = []
_bonds: list[Callable[[], None] | None] = []


def _begin(**_: Any) -> None:
    counters.begin()
    _bonds[:] = [die_with_parent(signal.SIGKILL)]


def _start(sender: Any = None, **_: Any) -> None:
    _heartbeats.append(Heartbeat(sender.controller))
    _heartbeats[-1].start()


def _stop(**_: Any) -> None:
    while _heartbeats:
        _heartbeats.pop().stop()


def _in_child(**_: Any) -> None:
    """In a pool's process: idle ones would outlive a killed worker, since each holds the ends of the others' pipes."""
    for bind in _bonds:
        if bind is not None:
            bind()
    counters.take_row(1 + int(getattr(current_process(), "index", 0) or 0))


def _lost(task_id: str | None = None, exception: BaseException | None = None, **_: Any) -> None:
    """In the worker's main process: a pool child died with the task."""
    if task_id and isinstance(exception, WorkerLostError) and not drain.is_leaving:
        counters.count("losses")
        try:
            release(task_id)
        except ClusterUnusable as error:
            log.warning("release.failed", task=task_id, error=error.message)


signals.worker_init.connect(_begin)
signals.worker_ready.connect(_start)
signals.worker_shutdown.connect(_stop)
signals.worker_process_init.connect(_in_child)
signals.task_failure.connect(_lost)
