"""Celery beat's scheduler, which also runs the dispatcher: one process keeps the clock and the rows moving."""

import threading
import time
from datetime import timedelta

import psycopg
from celery.beat import Scheduler

from nexusflow.errors import NexusError
from nexusflow.log import get_logger
from nexusflow.settings import get_settings
from nexusflow.workers.names import free_name
from nexusflow.workers.processes import PassingPresence, Presence
from nexusflow.workflows.clock.dispatch import Dispatcher, listen

log = get_logger(__name__)
TELL_SECONDS = 10.0
"""How often it is said that the database is away, which is tried twice a second."""
FIRST_AFTER = timedelta(minutes=5)
"""When an entry is due for the first time, if it is not due more often."""


class DispatchLoop(threading.Thread):
    """Steps the dispatcher whenever there is news, something is due or a sweep's time has come."""

    def __init__(self) -> None:
        super().__init__(name="dispatch", daemon=True)
        self._dispatcher = Dispatcher()
        self._listener: psycopg.Connection | None = None
        self._told_at = float("-inf")
        self.presence = PassingPresence(Presence(free_name("beat"), "beat"))

    def run(self) -> None:
        """Loop until the process ends; a database that is away is tried again each second."""
        while True:
            try:
                done = self._dispatcher.step()
                self.presence.passed()
                self._wait(min(get_settings().sweep_seconds, 60.0 if done.next_due is None else done.next_due + 0.002))
            except (NexusError, psycopg.Error) as error:
                if time.monotonic() - self._told_at >= TELL_SECONDS:
                    self._told_at = time.monotonic()
                    log.warning("dispatch.database_away", error=str(error))
                self._listener = None
                time.sleep(0.5)
            except Exception:
                log.exception("dispatch.failed")
                time.sleep(0.5)

    def _wait(self, seconds: float) -> None:
        if self._listener is None or self._listener.closed:
            url = get_settings().control_database_url
            self._listener = listen(url.get_secret_value() if url else "")
        for news in self._listener.notifies(timeout=seconds, stop_after=1):
            if news.payload:
                self._dispatcher.admitter.heard(news.payload)


class DispatchScheduler(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Beat's table in memory (it is static), and the dispatcher beside it."""

    def setup_schedule(self) -> None:
        """Read the table and start the dispatcher."""
        super().setup_schedule()
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)
        for name in self.app.conf.beat_schedule:
            # The table is in memory alone: a beat that never lives for a whole period would never come to an entry.
            entry = self.data[name]
            entry.last_run_at += min(FIRST_AFTER - entry.schedule.run_every, timedelta())
        self._loop = DispatchLoop()
        self._loop.start()

    def close(self) -> None:
        """Say that this beat is gone, at its end."""
        self._loop.presence.forget()
        super().close()
