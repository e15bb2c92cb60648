"""Heartbeats: one thread a worker renews, in one statement, the leases of what its pool really still runs.

A worker that dies or stands still renews nothing, so its leases run out; a lost child's are released at once.
"""

import threading
from typing import Any

import sqlalchemy as sa
from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker import state

from nexusflow.db.session import control_session
from nexusflow.errors import ClusterUnusable
from nexusflow.log import get_logger
from nexusflow.settings import get_settings

log = get_logger(__name__)

RENEW = sa.text(
    "UPDATE segments SET lease_until = now() + make_interval(secs => :lease)"
    " WHERE state = 'leased' AND task_id = ANY(:tasks)"
    " AND (deadline IS NULL OR deadline > now())"
)
RELEASE = sa.text(
    "UPDATE segments SET lease_until = now() - interval '1 second' WHERE state = 'leased' AND task_id = :task"
)


def renew(tasks: list[str]) -> int:
    """Renew the leases that these Celery tasks hold; gives how many. Raises ClusterUnusable."""
    if not tasks:
        return 0
    with control_session() as connection:
        return connection.execute(RENEW, {"tasks": tasks, "lease": get_settings().lease_seconds}).rowcount


def release(task: str) -> None:
    """Let the leases of a task whose process died run out now. Raises ClusterUnusable."""
    with control_session() as connection:
        connection.execute(RELEASE, {"task": task})


class Heartbeat(threading.Thread):
    """Renews what this worker runs until it is stopped; a database that is away is tried again at the next beat."""

    def __init__(self) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Beat."""
        while not self._stopped.wait(get_settings().heartbeat_seconds):
            try:
                renew([request.id for request in list(state.active_requests)])
            except ClusterUnusable as error:
                log.warning("heartbeat.failed", error=error.message)
            except Exception:  # a worker without a heartbeat would lose every long step: never end for a surprise
                log.exception("heartbeat.crashed")

    def stop(self) -> None:
        """End after the current beat."""
        self._stopped.set()


_heartbeats: list[Heartbeat] = []


def _start(**_: Any) -> None:
    _heartbeats.append(Heartbeat())
    _heartbeats[-1].start()


def _stop(**_: Any) -> None:
    while _heartbeats:
        _heartbeats.pop().stop()


def _lost(task_id: str | None = None, exception: BaseException | None = None, **_: Any) -> None:
    """In the worker's main process: a pool child died with the task."""
    if task_id and isinstance(exception, WorkerLostError):
        try:
            release(task_id)
        except ClusterUnusable as error:
            log.warning("release.failed", task=task_id, error=error.message)


signals.worker_ready.connect(_start)
signals.worker_shutdown.connect(_stop)
signals.task_failure.connect(_lost)
