"""Progress of a run: a table that is redrawn on a terminal, a line an event elsewhere."""

import time
from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from nexusflow.cli.console import err
from nexusflow.cli.records import local
from nexusflow.cli.render import awaiting, duration, headline, message, steps_table, style_of, words
from nexusflow.workflows.reports.report import RunReport
from nexusflow.workflows.reports.report_steps import OPEN_STATES, StepReport

PLAIN_SECONDS = 2.0
"""A foreach's line is repeated at most so often where there is no terminal."""
_QUIET = ("pending", "ready", "skipped", "blocked")


class LiveView:
    """The table on a terminal. ``begin`` and ``end`` frame it; ``note`` writes above it."""

    def __init__(self) -> None:
        # No thread of rich's: a signal may end the program at any moment, and must find no lock held.
        self._live = Live(console=err(), auto_refresh=False, transient=True)
        self._since: dict[str, float] = {}

    def begin(self) -> None:
        """Take over the terminal's last lines."""
        self._live.start()

    def show(self, report: RunReport) -> None:
        """Redraw the table."""
        now = time.monotonic()
        for step in report.steps:
            if step.state == "running":
                self._since.setdefault(step.path, now)
        taking = {path: now - since for path, since in self._since.items()}
        taking = {step.path: taking[step.path] for step in report.steps if step.state == "running"}
        above, steps, below = _fitting(report.steps, max(5, err().height - 6))
        table = steps_table(err(), steps, taking=taking, bars=True)
        parts: list[RenderableType] = [
            headline(report.run),
            *filter(None, [awaiting(report)]),
            *_more(above, "more done"),
            table,
            *_more(below, "more to come"),
        ]
        self._live.update(Group(*parts), refresh=True)

    def note(self, text: str) -> None:
        """A line above the table."""
        err().print(text, style="yellow")

    def end(self) -> None:
        """Give the terminal back, without the table."""
        self._live.stop()


def _more(count: int, what: str) -> list[Text]:
    return [Text(f"  … {count:,} {what}", "dim")] if count else []


def _fitting(steps: Sequence[StepReport], rows: int) -> tuple[int, Sequence[StepReport], int]:
    """As many steps as there are rows, those around the first that is not over; how many are left out on each side."""
    if len(steps) <= rows:
        return 0, steps, 0
    first = next((n for n, each in enumerate(steps) if each.state in (*OPEN_STATES, "failed")), 0)
    start = min(max(0, first - rows // 4), len(steps) - rows)
    return start, steps[start : start + rows], len(steps) - start - rows


class PlainView:
    """One line for each thing that happens, for logs and pipes."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._told: dict[str, tuple[float, int]] = {}

    def begin(self) -> None:
        """Nothing to prepare."""

    def show(self, report: RunReport) -> None:
        """Tell what has changed since the last look."""
        for step in report.steps:
            if step.counts is None:
                self._tell(step)

    def note(self, text: str) -> None:
        """A line like the others."""
        _line(Text(text, "yellow"))

    def end(self) -> None:
        """Nothing to give back."""

    def _tell(self, step: StepReport) -> None:
        before = self._states.get(step.path)
        mark = f"{step.state} {step.attempts}" if step.state == "retrying" else step.state
        if step.state == "running" and before != "running":
            self._told[step.path] = (time.monotonic(), 0)
        if mark != before and (step.state not in _QUIET or (before and step.state != "ready")):
            took = f" in {duration(step.seconds)}" if step.seconds is not None else ""
            took = f", attempt {step.attempts}" if step.state == "retrying" else took
            if step.state == "waiting" and step.waits_for is not None:
                took = f" for {step.waits_for.told}"
            if step.state == "waiting" and step.waits_until is not None:
                took += f"{', at most' if took else ''} until {local(step.waits_until)}"
            why = f": {message(step)}" if message(step) else ""
            _line(
                Text.assemble(
                    (step.path, "bold"), " ", (words(step.state), style_of(step.state)), _done(step), took, why
                )
            )
        elif (far := step.progress or step.iterations) is not None and step.state == "running":
            at, done = self._told.get(step.path, (0.0, 0))
            if far.done != done and time.monotonic() - at > PLAIN_SECONDS:
                self._told[step.path] = (time.monotonic(), far.done)
                _line(Text.assemble((step.path, "bold"), _done(step)))
        self._states[step.path] = mark


def _done(step: StepReport) -> str:
    if step.progress is None:
        return f" ({step.told})" if step.told else ""
    failed = f", {step.progress.failed:,} failed" if step.progress.failed else ""
    return f" ({step.progress.done:,} of {step.progress.total:,} items{failed})"


def _line(text: Text) -> None:
    err().print(Text.assemble((datetime.now().astimezone().strftime("%H:%M:%S "), "dim"), text), soft_wrap=True)


def view_for_stderr() -> LiveView | PlainView:
    """The view that standard error can show."""
    return LiveView() if err().is_terminal and not err().is_dumb_terminal else PlainView()
