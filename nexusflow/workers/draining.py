"""How a worker ends: what runs may finish for a while; what does not is handed back, so that nobody waits for it."""

import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]
from celery.worker import state

from nexusflow.db.session import DATABASE_DOWN
from nexusflow.log import get_logger
from nexusflow.settings import get_settings
from nexusflow.workers.processes import Presence
from nexusflow.workflows.messaging.leases import hand_back
from nexusflow.workflows.rows.counters import count

log = get_logger(__name__)
LEAVING_SECONDS = 5.0
"""How long a worker that must end at once waits for the database to take its leases back."""


class Drain:
    """Whether and since when this worker is asked to end. Set in signal handlers, read by the heartbeat."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self._asked_at: float | None = None
        self._cut = False
        self.is_watched = False
        self.is_leaving = False

    @property
    def is_asked(self) -> bool:
        """Whether the worker takes nothing new."""
        return self._asked_at is not None

    def ask(self) -> None:
        """Take nothing new, finish what runs."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        self.woken.set()

    def cut_short(self) -> None:
        """End at once."""
        self._cut = True
        self.ask()
        if not self.is_watched:  # no heartbeat yet: the worker was never ready, so it holds nothing
            _end_process()

    def patience(self) -> float:
        """Seconds that are left for what runs; endless until the worker is asked to end."""
        if self._cut:
            return 0.0
        if self._asked_at is None:
            return float("inf")
        return max(self._asked_at + get_settings().drain_seconds - time.monotonic(), 0.0)

    def leave(self, presence: Presence) -> NoReturn:
        """End this process and its children now, with what they hold handed back and nothing of theirs counted lost."""
        self.is_leaving = True
        # What a pool's child began a moment ago is not among the active ones yet.
        tasks = list({*ids_of(state.active_requests), *ids_of(state.reserved_requests)})
        freed: list[int] = []

        def give_back() -> None:
            try:
                freed.append(hand_back(tasks))
                count("handed_back", freed[0])
                presence.forget()
            except DATABASE_DOWN as error:
                log.warning("drain.not_handed_back", tasks=len(tasks), error=str(error))

        # In a thread: a database that does not answer must not keep a process that was told to go.
        giver = threading.Thread(target=give_back, name="leaving", daemon=True)
        giver.start()
        giver.join(LEAVING_SECONDS)
        log.warning("drain.cut", tasks=len(tasks), handed_back=freed[0] if freed else 0)
        sys.stdout.flush()
        sys.stderr.flush()
        _end_process()


def ids_of(requests: Iterable[Any]) -> list[str]:
    """The ids of these tasks' requests, of a set to which other threads add while it is read."""
    while True:
        try:
            return [request.id for request in list(requests)]
        except RuntimeError:  # changed size during iteration
            continue


def _end_process() -> NoReturn:
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue
    os._exit(0)


drain = Drain()
