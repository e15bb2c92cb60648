"""What is told of steps that have no record and get none any more: which way the run went instead."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nexusflow.workflows.engine.outcomes import Outcome
from nexusflow.workflows.engine.trying import next_of_try
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan, Scope
from nexusflow.workflows.reports.phrases import branch_name, catch_number, part_of
from nexusflow.workflows.reports.report_rows import Records, RunRecords
from nexusflow.workflows.rows.states import STEP_TERMINAL

if TYPE_CHECKING:
    from nexusflow.workflows.reports.report_steps import StepReport

WENT_WELL = frozenset({"succeeded", "skipped"})


@dataclass(frozen=True)
class Unrun:
    """The state and note of a scope's steps that never began; ``stopped``: the note of those that were cancelled."""

    state: str
    note: str = ""
    stopped: str = ""


NOT_STARTED = Unrun("cancelled", "not started")


def unrun(plan: Plan, records: RunRecords, holder: "StepReport", inner: Scope, around: Unrun | None) -> Unrun | None:
    """What the steps of ``inner`` without a record are; None while some of them may begin.

    ``holder``: the step that holds the scope. ``around``: the same of the scope that the holder is in.
    """
    # Of a step in a loop there is one record an item: they are all there once the loop is over.
    is_over = holder.state in STEP_TERMINAL and (holder.counts is None or around is not None)
    if is_over and holder.state in ("skipped", "blocked"):
        return Unrun(holder.state, holder.note)
    went_well = is_over and set(holder.counts or [holder.state]) <= WENT_WELL
    if inner.kind == "foreach" and went_well and holder.progress is None:
        return Unrun("skipped", "no items")
    if inner.kind == "branch" and (went_well if holder.counts is not None else _is_other_branch(holder, inner)):
        return Unrun("skipped", "branch not chosen")
    if inner.kind == "part":
        found = _of_part(plan, records, inner, is_each=holder.counts is not None, went_well=went_well)
        if found is not None:
            return found
    return (around or NOT_STARTED) if is_over else None


def _is_other_branch(holder: "StepReport", inner: Scope) -> bool:
    return holder.branch not in (None, branch_name(inner.path))


def _of_part(plan: Plan, records: RunRecords, part: Scope, *, is_each: bool, went_well: bool) -> Unrun | None:
    """Why what is left of a try's part does not run; ``is_each``: it lies in a loop."""
    number = catch_number(part_of(part.path))
    body = records.counts.get((f"{part.step}/{BODY}", part.depth), Records())
    if is_each:
        if number is None or not went_well:
            return None
        return Unrun("skipped", "not for these errors" if body.states.get("failed") else "no error")
    if (error := _error(records, part.path, part.depth)) is not None:
        blame = f"{str(error['step']).rpartition('/')[2]} failed" if error.get("step") else "what is around it failed"
        return Unrun("cancelled", f"not started: {blame}", f"stopped: {blame}")
    if number is None:
        return None
    if body.states.get("succeeded"):
        return Unrun("skipped", "no error")
    error = _error(records, f"{part.step}/{BODY}", part.depth)
    if error is None:
        return None
    # What a try further in could not undo is an error like others to the ones around it.
    if error.get("code") != "COMPENSATION_FAILED" and _is_half_done(records, f"{part.step}/{BODY}/"):
        return Unrun("skipped", "not everything could be undone")
    chosen = _chosen(plan, part.step, error)
    if chosen == number:
        return None
    return Unrun("skipped", "not for this error" if chosen is None or number < chosen else "another catch ran")


def _error(records: RunRecords, path: str, depth: int) -> dict[str, Any] | None:
    """The error of a part that failed."""
    if not records.counts.get((path, depth), Records()).states.get("failed"):
        return None
    return next((each.error for each in records.failures.get(path, ())), {})


def _is_half_done(records: RunRecords, inside: str) -> bool:
    """Whether a compensation failed inside of a try: then none of its catches runs."""
    return any(
        path.startswith(inside) and path.endswith("/compensate") and {"failed", "timed_out"} & each.states.keys()
        for (path, _), each in records.counts.items()
    )


def _chosen(plan: Plan, path: str, error: dict[str, Any]) -> int | None:
    """The place of the catch that takes an error."""
    spec = plan.steps[path].spec
    parts: dict[str, Outcome | None] = {f"catch{number}": None for number in range(len(spec["catch"]))}
    entered = next_of_try(spec, parts | {BODY: Outcome("failed", error=error)}).enter
    return catch_number(entered) if entered is not None else None
