"""What becomes of an attempt that failed: another one later, or the end of the step; and what stops a segment."""

from typing import Any

from nexusflow.errors import StepError, Transient
from nexusflow.workflows.engine.act import recordable, retry_delay
from nexusflow.workflows.language.error_classes import fitting_rule
from nexusflow.workflows.rows.effects import Row


class RunEnding(Exception):
    """The run is ending: nothing new may start."""


class RunPaused(Exception):
    """The run is paused: what was begun is recorded, and the segment is handed back."""


class Stopped(Exception):
    """A join went on without this segment: the step it was at is done, the ones behind it are not begun."""


class RunDone(Exception):
    """The workflow's last op is done: its output."""

    def __init__(self, output: Any) -> None:
        self.output = output


class Waiting(Exception):
    """The segment cannot go on now: it is due again in ``delay`` seconds, for instance for another attempt."""

    def __init__(self, rows: list[Row], delay: float, attempts: int) -> None:
        self.rows, self.delay, self.attempts = rows, delay, attempts


def fail(row: Row, retry: Any, error: StepError) -> None:
    """Make the row that of a failed step; raises Waiting where ``retry`` (a step's word) has another attempt for it."""
    is_transient = isinstance(error, Transient)
    rule = fitting_rule(retry, error.as_dict(), transient=is_transient)
    is_lost = error.cause == "platform" and not is_transient
    row.error = recordable(error)
    if rule is not None and row.attempts <= rule["max"] and not is_lost:
        row.state = "retrying"
        delay = retry_delay(rule, row.attempts, error.retry_in if isinstance(error, Transient) else None)
        raise Waiting([row], delay, row.attempts)
    row.state = "timed_out" if error.code == "STEP_TIMED_OUT" else "failed"
