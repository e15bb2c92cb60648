"""A run as a picture: the plan's boxes with the states of its steps, and a bar a step along the time."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from api.dashboard.words import duration, moment, word
from nexusflow.workflows.reports.layout import FRAMES, LETTERS, WAITING, Box, Edge, Picture, lay_out
from nexusflow.workflows.reports.phrases import shortened
from nexusflow.workflows.reports.report import RunReport
from nexusflow.workflows.reports.report_steps import OPEN_STATES, StepReport
from nexusflow.workflows.rows.plans import plan_of

MARGIN = 12.0
SCALE = 1000.0
LEAST_BAR = 4.0
EVENT_LETTERS = WAITING["wait"] - len(" · ")
"""Room for an event's name in the box of a wait."""


@dataclass(frozen=True)
class Shape:
    """A box with what is told of its step; ``label`` tells all of it in words."""

    box: Box
    state: str
    title: str
    line: str
    label: str


@dataclass(frozen=True)
class Line:
    """An edge as an SVG path; ``is_done``: what it comes from is over."""

    path: str
    is_done: bool


@dataclass(frozen=True)
class Graph:
    """A run's picture. ``is_shown`` is false for a plan too large for one."""

    width: float
    height: float
    shapes: tuple[Shape, ...] = ()
    lines: tuple[Line, ...] = ()
    is_shown: bool = True


@dataclass(frozen=True)
class Bar:
    """A step's row along the time; its bar goes from ``begin`` to ``begin + width`` of 1000, if it has begun."""

    step: StepReport
    begin: float
    width: float
    note: str


@lru_cache(maxsize=64)
def picture_of(tenant: str, version: str) -> Picture | None:
    """The picture of a workflow version; it never changes."""
    return lay_out(plan_of(tenant, version))


def graph(picture: Picture | None, steps: Iterable[StepReport], now: datetime.datetime) -> Graph:
    """The picture with the steps' states."""
    if picture is None:
        return Graph(0, 0, is_shown=False)
    by_path = {step.path: step for step in steps}
    shapes = tuple(_shape(box, by_path, now) for box in picture.boxes)
    lines = tuple(Line(_curve(edge), _is_done(by_path[edge.source])) for edge in picture.edges)
    return Graph(picture.width + 2 * MARGIN, picture.height + 2 * MARGIN, shapes, lines)


def bars(report: RunReport, now: datetime.datetime) -> tuple[Bar, ...]:
    """A row for each step, in the plan's order."""
    begin = report.run.accepted_at
    end = report.run.finished_at or now
    whole = max((end - begin).total_seconds(), 0.001)
    return tuple(_bar(step, begin, end, whole) for step in report.steps)


def _bar(step: StepReport, begin: datetime.datetime, end: datetime.datetime, whole: float) -> Bar:
    if step.started_at is None:
        return Bar(step, 0, 0, counted(step))
    left = max(0.0, (step.started_at - begin).total_seconds())
    until = step.finished_at if step.seconds is not None and step.finished_at else end
    if step.counts and step.state not in OPEN_STATES and step.finished_at:
        until = step.finished_at
    length = max(0.0, (until - step.started_at).total_seconds())
    at = min(SCALE - LEAST_BAR, left / whole * SCALE)
    return Bar(step, round(at, 1), round(min(SCALE - at, max(LEAST_BAR, length / whole * SCALE)), 1), counted(step))


def counted(step: StepReport) -> str:
    """How far a loop is, how many items' steps are in which state, which branch was chosen, or why it never ran."""
    parts = []
    if step.progress is not None:
        failed = f", {step.progress.failed} failed" if step.progress.failed else ""
        parts.append(f"{step.progress.done} of {step.progress.total} items{failed}")
    elif step.counts:
        parts.append(", ".join(f"{number} {word(state)}" for state, number in step.counts.items()))
    if step.told:
        parts.append(step.told)
    if step.branch:
        parts.append(step.branch)
    if step.note:
        parts.append(step.note)
    return " · ".join(parts)


def _shape(box: Box, by_path: Mapping[str, StepReport], now: datetime.datetime) -> Shape:
    if box.kind in FRAMES:
        return Shape(box, "branch", box.title, "", box.title)
    step = by_path[box.path]
    taken = duration(step.seconds)
    told = [step.path, step.kind, word(step.state), counted(step), taken]
    if step.attempts > 1:
        told.append(f"{step.attempts} attempts")
    if step.waits_for is not None:
        told.append(f"for {step.waits_for.told}")
    if step.waits_until is not None:
        told.append(f"until {moment(step.waits_until)}")
    line = " · ".join(part for part in (_short_count(step), _left(step, now)) if part) or taken
    kind = shortened(step.kind, LETTERS)
    return Shape(
        box,
        step.state,
        shortened(box.title, LETTERS),
        f"{kind} · {line}" if line else kind,
        ", ".join(part for part in told if part),
    )


def _short_count(step: StepReport) -> str:
    if step.progress is not None:
        return f"{step.progress.done}/{step.progress.total}"
    if step.iterations is not None:
        most = f"/{step.iterations.most}" if step.iterations.most is not None else "×"
        return f"{step.iterations.done}{most}"
    if step.counts:
        done = sum(number for state, number in step.counts.items() if state not in OPEN_STATES)
        return f"{done}×" if done else ""
    return step.branch or ""


def _left(step: StepReport, now: datetime.datetime) -> str:
    """How long it still waits, or for what."""
    if step.waits_until is None:
        return shortened(f"for {step.waits_for.event}", EVENT_LETTERS) if step.waits_for is not None else ""
    return f"{duration(max(0.0, (step.waits_until - now).total_seconds()))} left"


def _is_done(step: StepReport) -> bool:
    return step.state in ("succeeded", "skipped")


def _curve(edge: Edge) -> str:
    points = [(x + MARGIN, y + MARGIN) for x, y in edge.points]
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        if abs(x - to_x) < 0.5:
            parts.append(f"L{to_x:.1f} {to_y:.1f}")
        else:
            parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
    return "".join(parts)
