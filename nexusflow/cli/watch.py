"""Follows a run to its end: asks the database gently, bears with one that is away for a while, says when it stalls."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import sqlalchemy as sa

from nexusflow.cli.exits import database_reason
from nexusflow.cli.interruption import Interruption
from nexusflow.errors import ClusterUnusable
from nexusflow.workflows.language.definition import SCOPE_TYPES
from nexusflow.workflows.reports.report import RunReport, read_progress
from nexusflow.workflows.starts.control import cancel_run

AWAY_SECONDS = 60.0
STALL_SECONDS = 30.0
CLUSTER_SECONDS = 1.0
_LEAST_PAUSE, _MOST_PAUSE = 0.1, 0.5
_QUERY_SHARE = 4.0
"""A reading that takes long is done less often: at most a fifth of the time is spent on it."""


class View(Protocol):
    """What shows a run's progress."""

    def show(self, report: RunReport) -> None:
        """The run as it is now."""

    def note(self, text: str) -> None:
        """Something to know that is no step's doing."""


@dataclass
class Watch:
    """One run under watch.

    ``advise`` says what may be wrong when nothing moves; ``hopeless`` gives the reason why nothing ever will.
    """

    tenant: str
    run: str
    view: View
    interruption: Interruption
    advise: Callable[[], str]
    hopeless: Callable[[], ClusterUnusable | None] = lambda: None
    away_seconds: float = AWAY_SECONDS
    stall_seconds: float = STALL_SECONDS

    def follow(self) -> RunReport:
        """The report once the run is over.

        Raises LeaveNow, and ClusterUnusable when the database stays away or the cluster's processes cannot run.
        """
        pause, seen = _LEAST_PAUSE, None
        self._moved_at, self._away_since, self._cancelled = time.monotonic(), None, False
        while True:
            began = time.monotonic()
            report = self._look()
            if report is not None:
                self.view.show(report)
                if report.run.is_terminal:
                    return report
                state = _fingerprint(report)
                pause = _LEAST_PAUSE if state != seen else min(pause * 1.3, _MOST_PAUSE)
                if state != seen or _is_busy(report):
                    self._moved_at, seen = time.monotonic(), state
                self._mind_stall()
            self._mind_cluster()
            time.sleep(max(pause, _QUERY_SHARE * (time.monotonic() - began)) if report else _MOST_PAUSE)

    _moved_at: float = 0.0
    _away_since: float | None = None
    _cancelled: bool = False
    _cluster_due: float = 0.0

    def _look(self) -> RunReport | None:
        """The run as it is now; None while the database is away."""
        try:
            if self.interruption.asked and not self._cancelled:
                self.view.note("Cancelling the run; press Ctrl-C again to leave it to itself.")
                cancel_run(self.tenant, self.run)
                self._cancelled = True
            report = read_progress(self.tenant, self.run)
        except (ClusterUnusable, sa.exc.SQLAlchemyError, psycopg.Error) as error:
            self._bear(error)
            return None
        if self._away_since is not None:
            self.view.note("The database answers again.")
            self._away_since = None
        return report

    def _bear(self, error: Exception) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            self.view.note(f"The database does not answer; trying for {self.away_seconds:.0f} s.")
        if now - self._away_since > self.away_seconds:
            reason = error.message if isinstance(error, ClusterUnusable) else f"{database_reason(error)}."
            raise ClusterUnusable(
                f"The database has not answered for {self.away_seconds:.0f} s: {reason}",
                f"The run {self.run} is not lost: it goes on with its cluster. See nexusflow runs show {self.run}.",
            ) from None

    def _mind_cluster(self) -> None:
        if time.monotonic() < self._cluster_due:
            return
        self._cluster_due = time.monotonic() + CLUSTER_SECONDS
        failure = self.hopeless()
        if failure is not None:
            told = f"{failure.hint} The run {self.run} is not lost: it goes on when its cluster runs again."
            raise ClusterUnusable(failure.message, told)

    def _mind_stall(self) -> None:
        if time.monotonic() - self._moved_at > self.stall_seconds:
            self._moved_at = time.monotonic()
            self.view.note(f"Nothing has moved for {self.stall_seconds:.0f} s. {self.advise()}")


def _fingerprint(report: RunReport) -> Any:
    steps = tuple(
        (each.state, each.attempts, str(each.counts), each.progress, each.iterations) for each in report.steps
    )
    return report.run.status, report.run.ending, steps


def _is_busy(report: RunReport) -> bool:
    """Whether it waits for something that is under way: a step that runs, a retry or a wait that is not due yet."""
    return any(
        each.retry_at is not None
        or each.waits_until is not None
        or each.waits_for is not None
        or (each.counts or {}).get("running", 0) > 0
        or (each.state == "running" and each.type not in SCOPE_TYPES)
        for each in report.steps
    )
