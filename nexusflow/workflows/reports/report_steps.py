"""The state of every step of a plan, told from the records and from what is live. No input, no output, no database."""

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from nexusflow.workflows.language.definition import SCOPE_TYPES
from nexusflow.workflows.planning.plan import Plan, Scope, StepPlan
from nexusflow.workflows.reports.phrases import branch_name, called, event_name, iterations, part_name, part_of
from nexusflow.workflows.reports.report_rows import ChildRun, Failure, Live, Records, RunRecords
from nexusflow.workflows.reports.unrun import Unrun, unrun
from nexusflow.workflows.rows.states import RUN_TERMINAL, STEP_TERMINAL

CACHED = "from the cache"
MOCKED = "mocked"
NOT_NEEDED = "not needed: others were enough"
OPEN_STATES = ("running", "retrying", "waiting", "ready")
"""States of steps that are not over, and of which one knows that they come next."""
KEYS_SHOWN = 3
"""Keys told of an event that several items wait for."""


@dataclass(frozen=True)
class Progress:
    """How far a foreach is: items done (the failed ones included), failed, and in all."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class Iterations:
    """How far an until is: iterations done, and the most there may be (None where it lies in a loop itself)."""

    done: int
    most: int | None


@dataclass(frozen=True)
class Awaited:
    """The event that a wait waits for: its name, the first few keys, and how many items (or one) wait for it."""

    event: str
    keys: tuple[str, ...]
    waiting: int

    @property
    def told(self) -> str:
        """It in words."""
        return event_name(self.event, self.keys, self.waiting)


@dataclass(frozen=True)
class StepReport:
    """One step of a run.

    ``nesting``: how many scopes it lies in. ``counts``: inside a loop, how many items' steps are in each state
    (``state`` then sums them up). ``branch``: what a switch chose: ``case 1``, ``default`` or ``none``.
    ``failures``: the first few errors, or why it is tried again, and from when (``retry_at``).
    ``waits_until``: when a wait, or the time between two iterations of an until, is over; ``waits_for``: the event that
    a wait waits for, at most until then.
    ``calls``: the workflow that it calls; ``children``: the first few of its runs.
    ``way``: the branch or the part of a try that it is in: ``case 1``, ``catch 2``.
    ``note`` says what no state does: why it never ran, that it was undone, or kept of the run that is repeated.
    """

    path: str
    type: str
    nesting: int
    state: str
    attempts: int = 0
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
    counts: dict[str, int] | None = None
    progress: Progress | None = None
    iterations: Iterations | None = None
    failures: tuple[Failure, ...] = ()
    branch: str | None = None
    retry_at: datetime.datetime | None = None
    waits_until: datetime.datetime | None = None
    calls: str = ""
    children: tuple[ChildRun, ...] = ()
    waits_for: Awaited | None = None
    way: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """The step's id in its scope."""
        return self.path.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """Its type, and what it calls."""
        return f"{self.type} {self.calls}".rstrip()

    @property
    def told(self) -> str:
        """How far an until is, in words; "" for other steps."""
        if self.iterations is None:
            return ""
        return iterations(self.iterations.done, self.iterations.most, goes_on=self.state not in STEP_TERMINAL)

    @property
    def seconds(self) -> float | None:
        """How long it took, from the start of its first attempt; None while it is not over."""
        if self.started_at is None or self.finished_at is None or self.state not in STEP_TERMINAL:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    @property
    def awaited_runs(self) -> tuple[ChildRun, ...]:
        """The first few runs whose end it waits for."""
        is_waiting = self.state == "waiting" and self.type == "workflow"
        return tuple(each for each in self.children if each.status not in RUN_TERMINAL) if is_waiting else ()

    def as_dict(self) -> dict[str, Any]:
        """The step as programs get it, with moments as they are.

        ``items`` for a foreach itself, ``iterations`` for an until itself, else None.
        """
        return {
            "step": self.path,
            "type": self.type,
            "nesting": self.nesting,
            "state": self.state,
            "attempts": self.attempts,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "seconds": round(self.seconds, 3) if self.seconds is not None else None,
            "counts": self.counts,
            "items": asdict(self.progress) if self.progress is not None else None,
            "iterations": asdict(self.iterations) if self.iterations is not None else None,
            "branch": self.branch,
            "errors": [{"item": each.item or None, "error": each.error} for each in self.failures],
            "retry_at": self.retry_at,
            "waits_until": self.waits_until,
            "runs": [asdict(each) | {"item": each.item or None} for each in self.children],
            "waits_for": asdict(self.waits_for) if self.waits_for is not None else None,
            "note": self.note or None,
        }


def derive_steps(plan: Plan, records: RunRecords, *, is_over: bool, mock: bool = False) -> tuple[StepReport, ...]:
    """Every step of the plan, a scope's steps right behind the step that holds them."""
    return tuple(_Derivation(plan, records, is_over, mock).scope(plan.scopes[""], 0))


def awaited(steps: Iterable[StepReport]) -> list[StepReport]:
    """What a run waits for, if nothing else goes on: steps of which the time has not come, the first to come first, and
    those that wait for a run of their own.
    """
    shown = list(steps)
    leaves = [step for step in shown if step.type not in SCOPE_TYPES]
    if any(state in ("running", "ready") for step in leaves for state in step.counts or [step.state]):
        return []
    moments = {step.path: step.waits_until or step.retry_at for step in shown}
    waiting = [
        step for step in shown if moments[step.path] is not None or step.waits_for is not None or step.awaited_runs
    ]
    return sorted(waiting, key=lambda step: str(moments[step.path] or "without end"))


class _Derivation:
    def __init__(self, plan: Plan, records: RunRecords, is_over: bool, mock: bool) -> None:
        self._plan, self._records, self._is_over, self._mock = plan, records, is_over, mock
        self._live: dict[str, list[Live]] = defaultdict(list)
        for live in records.live:
            self._live[live.step].append(live)
        self._inner: dict[str, list[Scope]] = defaultdict(list)
        for scope in plan.scopes.values():
            self._inner[scope.step].append(scope)

    def scope(self, scope: Scope, nesting: int, closed: Unrun | None = None) -> Iterator[StepReport]:
        """The scope's steps. ``closed``: what those without a record are, where none of them begins any more."""
        for path in scope.steps:
            step = self._plan.steps[path]
            report = self._step(step, scope, nesting)
            if closed is not None:
                report = self._closed(report, scope, closed)
            yield report
            for inner in self._inner[path]:
                around = unrun(self._plan, self._records, report, inner, closed)
                yield from self.scope(inner, nesting + 1, around)

    def _closed(self, report: StepReport, scope: Scope, closed: Unrun) -> StepReport:
        if (report.path, scope.depth) in self._records.counts or self._live[report.path]:
            stopped = report.state == "cancelled" and report.counts is None and not report.note
            return replace(report, note=closed.stopped) if stopped else report
        return StepReport(report.path, report.type, report.nesting, closed.state, way=report.way, note=closed.note)

    def _step(self, step: StepPlan, scope: Scope, nesting: int) -> StepReport:
        own = self._records.counts.get((step.path, scope.depth), Records())
        live = self._live[step.path]
        failures = [each for each in self._records.failures.get(step.path, ()) if _level(each.item) == scope.depth]
        retrying = [each.due_at for each in live if each.recorded == "retrying" and not each.is_running and each.due_at]
        report = StepReport(
            path=step.path,
            type=step.spec["type"],
            nesting=nesting,
            state="pending",
            attempts=own.attempts,
            started_at=own.started_at,
            finished_at=own.finished_at,
            progress=self._progress(step, scope, own),
            iterations=self._iterations(step, scope, own),
            failures=tuple(failures),
            retry_at=min(retrying, default=None) if not self._is_over else None,
            waits_until=min(self._waits(step), default=None) if not self._is_over else None,
            calls=called(step.spec["with"]) if step.spec["type"] == "workflow" else "",
            children=tuple(self._records.children.get(step.path, ())),
            waits_for=self._awaits(step) if not self._is_over else None,
            way=_way(scope),
            note=self._undone(step, scope) or self._not_done(step, own) or self._kept(own, scope),
        )
        if scope.depth:
            counts = self._counts(own, live)
            return replace(report, state=self._sum_up(counts), counts=counts)
        report = replace(report, state=self._state(own, live))
        if step.spec["type"] == "switch":
            report = replace(report, branch=_branch(own, report.state))
        if self._is_over and report.state == "cancelled" and not own.states.get("cancelled"):
            report = replace(report, note="interrupted" if own.total else "not started")
        return report

    def _state(self, own: Records, live: list[Live]) -> str:
        recorded = next(iter(own.states), "")
        if recorded in STEP_TERMINAL:
            return recorded
        if self._is_over:
            return "cancelled"
        if any(each.is_running for each in live):
            return "running"
        return recorded or (("waiting" if live[0].is_later else "ready") if live else "pending")

    def _counts(self, own: Records, live: list[Live]) -> dict[str, int]:
        counts = Counter(own.states)
        for each in live:
            if each.is_running and each.recorded == "retrying":
                counts["retrying"] -= 1
            if each.is_running or each.recorded is None:
                counts["running" if each.is_running else "waiting" if each.is_later else "ready"] += 1
        if self._is_over:
            counts["cancelled"] += sum(counts.pop(state, 0) for state in OPEN_STATES)
        return {state: number for state, number in counts.items() if number > 0}

    def _sum_up(self, counts: dict[str, int]) -> str:
        order: tuple[str, ...] = OPEN_STATES if not self._is_over else ()
        for state in (*order, "failed", "timed_out", "cancelled", "succeeded", "blocked", "skipped"):
            if counts.get(state):
                return state
        return "cancelled" if self._is_over else "pending"

    def _progress(self, step: StepPlan, scope: Scope, own: Records) -> Progress | None:
        if step.spec["type"] != "foreach" or not own.items:
            return None
        states = self._records.counts.get((step.path, scope.depth + 1), Records()).states
        done = sum(number for state, number in states.items() if state in STEP_TERMINAL)
        return Progress(done, done - states.get("succeeded", 0), own.items)

    def _iterations(self, step: StepPlan, scope: Scope, own: Records) -> Iterations | None:
        if step.spec["type"] != "until" or not own.states or own.states.keys() <= {"skipped", "blocked"}:
            return None
        done = self._records.counts.get((step.path, scope.depth + 1), Records()).total
        return Iterations(done, None if scope.depth else step.spec["with"]["max_iterations"])

    def _waits(self, step: StepPlan) -> list[datetime.datetime]:
        """When what it waits for is due: the end of a wait, or the next iteration of an until."""
        if step.spec["type"] == "wait":
            live = [each for each in self._live[step.path] if each.recorded == "waiting"]
        elif step.spec["type"] == "until":
            inside = [each for path in self._plan.scopes[step.path].steps for each in self._live[path]]
            live = [each for each in inside if each.is_later and each.recorded is None]
        else:
            live = []
        return [each.due_at for each in live if each.due_at is not None]

    def _not_done(self, step: StepPlan, own: Records) -> str:
        """Why the step was not really done."""
        if self._mock and step.spec.get("mock") and {"succeeded", "failed"} & own.states.keys():
            return MOCKED
        if own.states.get("succeeded") and own.attempts == 0:
            return CACHED
        return NOT_NEEDED if own.states.get("cancelled") and step.path in self._plan.dispensable else ""

    def _awaits(self, step: StepPlan) -> Awaited | None:
        live = [each for each in self._live[step.path] if each.event is not None]
        if not live:
            return None
        return Awaited(str(live[0].event), tuple(each.key for each in live[:KEYS_SHOWN]), len(live))

    def _kept(self, own: Records, scope: Scope) -> str:
        """What a rerun has kept of the run that it repeats."""
        if not own.kept or set(own.states) & set(OPEN_STATES):
            return ""
        return "kept" if not scope.depth or own.kept == own.total else f"{own.kept:,} kept"

    def _undone(self, step: StepPlan, scope: Scope) -> str:
        """What became of the step's compensation, if it has one that was needed."""
        path = f"{step.path}/compensate"
        states = self._records.counts.get((path, scope.depth), Records()).states if step.undo is not None else {}
        if not states:
            return ""
        if scope.depth:
            told = {"succeeded": "undone", "failed": "could not be undone", "timed_out": "could not be undone"}
            return ", ".join(f"{number} {told.get(state, 'being undone')}" for state, number in states.items())
        if "succeeded" in states:
            return "undone"
        if not states.keys() & {"failed", "timed_out"}:
            return "being undone"
        why = next((str(each.error.get("message", "")) for each in self._records.failures.get(path, ())), "")
        return f"could not be undone: {why}".removesuffix(": ")


def _way(scope: Scope) -> str:
    if scope.kind == "branch":
        return branch_name(scope.path)
    return part_name(part_of(scope.path)) if scope.kind == "part" else ""


def _level(item: str) -> int:
    return item.count(".") + 1 if item else 0


def _branch(own: Records, state: str) -> str | None:
    if own.cursor is not None:
        return "default" if own.cursor < 0 else f"case {own.cursor + 1}"
    return "none" if state == "succeeded" else None
