"""The state of every step of a plan, told from the records and from what is live. No input, no output, no database."""

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from nexusflow.workflows.plan import Plan, Scope, StepPlan
from nexusflow.workflows.report_rows import Failure, Live, Records, RunRecords
from nexusflow.workflows.states import STEP_TERMINAL

_NEVER = ("skipped", "blocked")


@dataclass(frozen=True)
class Progress:
    """How far a foreach is: items done (the failed ones included), failed, and in all."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class StepReport:
    """One step of a run.

    ``nesting``: how many scopes it lies in. ``counts``: inside a foreach, how many items' steps are in each state
    (``state`` then sums them up). ``branch``: what a switch chose: ``case 1``, ``default`` or ``none``.
    ``failures``: the first few errors, or why it is tried again, and from when (``retry_at``).
    ``note`` says what no record does: why it never ran.
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
    failures: tuple[Failure, ...] = ()
    branch: str | None = None
    retry_at: datetime.datetime | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The step's id in its scope."""
        return self.path.rpartition("/")[2]

    @property
    def seconds(self) -> float | None:
        """How long it took, from the start of its first attempt; None while it is not over."""
        if self.started_at is None or self.finished_at is None or self.state not in STEP_TERMINAL:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


def derive_steps(plan: Plan, records: RunRecords, *, is_over: bool) -> tuple[StepReport, ...]:
    """Every step of the plan, a scope's steps right behind the step that holds them."""
    return tuple(_Derivation(plan, records, is_over).scope(plan.scopes[""], 0))


class _Derivation:
    def __init__(self, plan: Plan, records: RunRecords, is_over: bool) -> None:
        self._plan, self._records, self._is_over = plan, records, is_over
        self._live: dict[str, list[Live]] = defaultdict(list)
        for live in records.live:
            self._live[live.step].append(live)
        self._inner: dict[str, list[Scope]] = defaultdict(list)
        for scope in plan.scopes.values():
            self._inner[scope.step].append(scope)

    def scope(self, scope: Scope, nesting: int, never: tuple[str, str] | None = None) -> Iterator[StepReport]:
        """The scope's steps. ``never``: the state and note of all of them, where the scope was never entered."""
        for path in scope.steps:
            step = self._plan.steps[path]
            report = self._step(step, scope, nesting)
            if never is not None and not (report.counts or report.state in STEP_TERMINAL - {"cancelled"}):
                report = StepReport(path, step.spec["type"], nesting, never[0], note=never[1])
            yield report
            for inner in self._inner[path] if step.spec["type"] in ("foreach", "switch") else ():
                yield from self.scope(inner, nesting + 1, never or self._never(report, inner))

    def _never(self, holder: StepReport, inner: Scope) -> tuple[str, str] | None:
        """Why a scope was or will never be entered, if that is known."""
        if holder.counts is not None:  # each item goes its own way
            return None
        if holder.state in _NEVER:
            return holder.state, ""
        if inner.kind == "foreach":
            return ("skipped", "no items") if holder.state == "succeeded" and not holder.progress else None
        branch = inner.path.rpartition("/")[2]
        mine = "default" if branch == "default" else f"case {int(branch) + 1}"
        return ("skipped", "branch not chosen") if holder.branch not in (None, mine) else None

    def _step(self, step: StepPlan, scope: Scope, nesting: int) -> StepReport:
        own = self._records.counts.get((step.path, scope.depth), Records())
        live = self._live[step.path]
        failures = [each for each in self._records.failures.get(step.path, ()) if _level(each.item) == scope.depth]
        waiting = [each.due_at for each in live if each.recorded == "retrying" and not each.is_running and each.due_at]
        report = StepReport(
            path=step.path,
            type=step.spec["type"],
            nesting=nesting,
            state="pending",
            attempts=own.attempts,
            started_at=own.started_at,
            finished_at=own.finished_at,
            progress=self._progress(step, scope, own),
            failures=tuple(failures),
            retry_at=min(waiting, default=None) if not self._is_over else None,
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
        return recorded or ("ready" if live else "pending")

    def _counts(self, own: Records, live: list[Live]) -> dict[str, int]:
        counts = Counter(own.states)
        for each in live:
            if each.is_running and each.recorded == "retrying":
                counts["retrying"] -= 1
            if each.is_running or each.recorded is None:
                counts["running" if each.is_running else "ready"] += 1
        if self._is_over:
            counts["cancelled"] += sum(counts.pop(state, 0) for state in ("running", "retrying", "ready"))
        return {state: number for state, number in counts.items() if number > 0}

    def _sum_up(self, counts: dict[str, int]) -> str:
        order: tuple[str, ...] = ("running", "retrying", "ready") if not self._is_over else ()
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


def _level(item: str) -> int:
    return item.count(".") + 1 if item else 0


def _branch(own: Records, state: str) -> str | None:
    if own.cursor is not None:
        return "default" if own.cursor < 0 else f"case {own.cursor + 1}"
    return "none" if state == "succeeded" else None
