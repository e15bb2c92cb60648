"""The compensations of a try that failed: which is next, and how all of them ended."""

from nexusflow.workflows.engine.consequences import inside
from nexusflow.workflows.engine.outcomes import Key, Outcome
from nexusflow.workflows.engine.trying import compensation_failed, untold
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rehearsal.journal import Journal
from nexusflow.workflows.rows.states import STEP_FAILED, STEP_TERMINAL


def next_to_undo(plan: Plan, journal: Journal, path: str, item: str) -> Key | None:
    """The step that succeeded last in a try and is not compensated yet."""
    left = [key for key in _succeeded(plan, journal, path, item) if journal.state(*_undo_of(key)) not in STEP_TERMINAL]
    return max(left, key=lambda key: journal.found.over[key], default=None)


def how_undone(plan: Plan, journal: Journal, path: str, item: str) -> Outcome:
    """How the compensations of a try ended: failed where one did that no try further in has told of."""
    ends = {key: journal.known[_undo_of(key)] for key in _succeeded(plan, journal, path, item)}
    failed = [
        {"step": step, "item": at or None, "error": end.error}
        for (step, at), end in ends.items()
        if end.state in STEP_FAILED
    ]
    failed = untold(plan, path, failed, journal.known)
    return Outcome("failed", error=compensation_failed(failed)) if failed else Outcome("succeeded")


def _undo_of(key: Key) -> Key:
    return f"{key[0]}/compensate", key[1]


def _succeeded(plan: Plan, journal: Journal, path: str, item: str) -> list[Key]:
    """What succeeded in the steps of a try and has a compensation."""
    steps = {step for step in inside(plan, f"{path}/{BODY}", item).steps if plan.steps[step].undo is not None}
    return [
        key
        for key, outcome in journal.known.items()
        if key[0] in steps and outcome.state == "succeeded" and _is_at(key[1], item)
    ]


def _is_at(item: str, under: str) -> bool:
    return not under or item == under or item.startswith(f"{under}.")
