"""Steps as rows for people: a sign, the name, what it does or did, how long it took."""

import datetime
from collections.abc import Mapping, Sequence

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nexusflow.cli.console import speaks_unicode
from nexusflow.workflows.reports.report import RunReport, RunSummary
from nexusflow.workflows.reports.report_rows import ChildRun
from nexusflow.workflows.reports.report_steps import StepReport, awaited

BAR_WIDTH = 24
MESSAGE_WIDTH = 200
AWAITED = 3
"""So many steps that a run waits for are named."""
_SIGNS = {
    "pending": ("·", ".", "dim"),
    "ready": ("·", ".", "cyan"),
    "running": ("▶", ">", "cyan"),
    "waiting": ("…", "~", "yellow"),
    "retrying": ("↻", "~", "yellow"),
    "succeeded": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "timed_out": ("✗", "x", "red"),
    "blocked": ("⊘", "-", "red"),
    "skipped": ("–", "-", "dim"),
    "cancelled": ("⊘", "-", "yellow"),
    "queued": ("·", ".", "dim"),
    "paused": ("‖", "=", "yellow"),
}
_ENDED = ("succeeded", "failed", "timed_out", "blocked", "cancelled", "skipped")
_ORDER = (*_ENDED, "retrying", "waiting", "running", "ready")


def style_of(state: str) -> str:
    """The colour of a state."""
    return _SIGNS.get(state, ("", "", ""))[2]


def duration(seconds: float) -> str:
    """``340 ms``, ``2.4 s``, ``3 m 12 s``, ``2 h 5 m``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} m {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} m"


def words(state: str) -> str:
    """A state as one says it."""
    return state.replace("_", " ")


def headline(run: RunSummary) -> Text:
    """The run in one line."""
    status = f"{run.status}, ending as {words(run.ending)}" if run.ending else words(run.status)
    style = style_of(run.ending or run.status)
    return Text.assemble((run.workflow, "bold"), f" {run.id} ", (status, style), f" · {duration(run.seconds)}")


def counted(counts: Mapping[str, int]) -> Text:
    """How many items are in each state."""
    known = [state for state in _ORDER if counts.get(state)]
    parts = [(f"{counts[state]:,} {words(state)}", style_of(state)) for state in known]
    return Text(" · ").join(Text(text, style) for text, style in parts)


def message(step: StepReport) -> str:
    """Why it failed or is tried again, in one line."""
    if step.note:
        return step.note
    if not step.failures or step.state not in ("failed", "timed_out", "retrying"):
        return ""
    first = step.failures[0]
    text = str(first.error.get("message", first.error.get("code", "")))
    return f"{f'item {first.item}: ' if first.item else ''}{text}"[:MESSAGE_WIDTH]


def steps_table(
    console: Console, steps: Sequence[StepReport], *, taking: Mapping[str, float] | None = None, bars: bool = False
) -> Table:
    """The steps' rows. ``taking``: how long those that run have been at it. ``bars``: draw a foreach's progress."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim", overflow="ellipsis")
    table.add_column(ratio=None, overflow="fold")
    table.add_column(no_wrap=True, justify="right")
    for step in steps:
        seconds = step.seconds if step.seconds is not None else (taking or {}).get(step.path)
        took = "" if seconds is None else duration(seconds)
        table.add_row(_name(console, step), step.kind, _what(step, bars=bars), took)
    return table


def _name(console: Console, step: StepReport) -> Text:
    symbol, plain, style = _SIGNS.get(step.state, ("?", "?", ""))
    sign = symbol if speaks_unicode(console) else plain
    return Text.assemble(
        "  " * step.nesting, (sign, style), " ", (f"{step.way}: " if step.way else "", "dim"), step.name
    )


def _what(step: StepReport, *, bars: bool) -> RenderableType:
    told = Text(words(step.state), style_of(step.state))
    if step.counts:
        told = counted(step.counts)
    if step.told:
        told.append(f", {step.told}", "dim")
    if step.branch:
        told.append(f" ({step.branch})", "dim")
    if step.attempts > 1 and not step.counts:
        told.append(f", attempt {step.attempts}" if step.state == "retrying" else f", {step.attempts} attempts")
    if step.retry_at is not None:
        told.append(f", again {_ahead(step.retry_at)}", "dim")
    if step.children and step.state != "succeeded":
        told.append(f", {_runs(step.children)}", "dim")
    if step.waits_for is not None:
        told.append(f", for {step.waits_for.told}", "dim")
    if step.waits_until is not None:
        then = "gives up" if step.waits_for else "next" if step.iterations else "goes on"
        told.append(f", {then} {_ahead(step.waits_until)}", "dim")
    if why := message(step):
        told.append(f"  {why}", "dim" if step.note else style_of(step.state))
    if step.progress is None or step.counts:
        return told
    done = Text.assemble(f"{step.progress.done:,} of {step.progress.total:,}", _failed(step.progress.failed))
    if not bars or step.state != "running":
        return Text.assemble(told, "  ", done)
    bar = ProgressBar(total=step.progress.total, completed=step.progress.done, width=BAR_WIDTH)
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(bar, done)
    return row


def _runs(children: Sequence[ChildRun]) -> str:
    """The runs that a step called: ``run 0199… of invoice``; the first of several."""
    more = f" and {len(children) - 1:,} more" if len(children) > 1 else ""
    return f"run {children[0].id} of {children[0].workflow}{more}"


def _ahead(moment: datetime.datetime) -> str:
    seconds = (moment - datetime.datetime.now(datetime.UTC)).total_seconds()
    return f"in {duration(seconds)}" if seconds > 0 else "now"


def awaiting(report: RunReport) -> Text | None:
    """What a run waits for where nothing else goes on in it, and how long; the first few."""
    if report.run.waits_for is not None:
        return Text(report.run.waits_for.message, style_of("waiting"))
    waiting = awaited(report.steps) if report.run.ending is None else []
    if not waiting:
        return None
    parts = []
    for step in waiting[:AWAITED]:
        moment = step.waits_until or step.retry_at
        if step.waits_for is not None:
            why = f" for {step.waits_for.told}{', at most' if moment is not None else ''}"
        elif step.awaited_runs:
            why = f" ({_runs(step.awaited_runs)})"
        else:
            why = (
                ", to be tried again" if step.waits_until is None else ", its next iteration" if step.iterations else ""
            )
        when = f" ({moment.astimezone():%Y-%m-%d %H:%M:%S}, {_ahead(moment)})" if moment is not None else ""
        parts.append(f"{step.path}{why}{when}")
    more = f" and {len(waiting) - AWAITED:,} more" if len(waiting) > AWAITED else ""
    return Text(f"Waits for {'; '.join(parts)}{more}", style_of("waiting"))


def _failed(number: int) -> tuple[str, str]:
    return (f", {number:,} failed", "red") if number else ("", "")
