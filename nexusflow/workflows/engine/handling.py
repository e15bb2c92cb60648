"""A try whose steps failed, or whose last part is done: what is left is stopped, what succeeded is undone, then on."""

from functools import partial
from typing import Any

from nexusflow.workflows.engine.consequences import Consequences, inside
from nexusflow.workflows.engine.failing import Waiting
from nexusflow.workflows.engine.insist import insist
from nexusflow.workflows.engine.outcomes import Outcome, fetch
from nexusflow.workflows.engine.reading import Reading
from nexusflow.workflows.engine.trying import (
    compensation_failed,
    next_of_try,
    parts_of,
    tries_around,
    tries_inside,
    untold,
)
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows.effects import Row
from nexusflow.workflows.rows.states import STEP_TERMINAL
from nexusflow.workflows.rows.work import Claim, next_to_undo, not_undone, quiesce

SECONDS, LONGEST = 0.025, 1.0
"""How soon a try looks again whether what failed in it has stopped, at first and at last."""


def handle_try(plan: Plan, claim: Claim, reading: Reading, consequences: Consequences, path: str, item: str) -> None:
    """Say what comes next in a try. Raises Waiting while something of a part that failed still runs."""
    spec = plan.steps[path].spec
    found = {part: reading.known.get((f"{path}/{part}", item)) for part in parts_of(plan, path)}
    for part, outcome in found.items():
        if outcome is not None and outcome.state == "failed":
            _stop(plan, claim, f"{path}/{part}", item)
    body = found[BODY]
    if body is not None and body.state == "failed":
        undone = _compensate(plan, claim, consequences, path, item)
        if undone is None:
            return
        if undone.state == "failed":
            found[BODY], spec = undone, spec | {"catch": []}  # for a try further out: this one left things half done
    step = next_of_try(spec, found)
    if step.enter is not None:
        consequences.enter_part(path, step.enter, item)
    elif step.end is not None:
        end = step.end
        consequences.conclude_scope_step(Row(path, item, end.state, end.output, end.error))


def holder_of(plan: Plan, reading: Reading, step: str, item: str) -> tuple[str, str] | None:
    """The innermost try around a step that is still open, and its item: the one that has the step compensated."""
    for holder, at in tries_around(plan, step, item):
        outcome = reading.known.get((holder, at))
        if outcome is not None and outcome.state not in STEP_TERMINAL:
            return holder, at
    return None


def _stop(plan: Plan, claim: Claim, part: str, item: str) -> None:
    if not insist(partial(quiesce, claim, inside(plan, part, item))):
        attempts = claim.attempts + 1
        raise Waiting([], min(SECONDS * 2.0 ** min(attempts, 10), LONGEST), attempts)


def _compensate(plan: Plan, claim: Claim, consequences: Consequences, path: str, item: str) -> Outcome | None:
    """Start the next compensation (None), or say how all of them ended."""
    within = inside(plan, f"{path}/{BODY}", item)
    steps = [step for step in within.steps if plan.steps[step].undo is not None]
    if not steps:
        return Outcome("succeeded")
    following = insist(partial(next_to_undo, claim, within, steps))
    if following is not None:
        consequences.undo(path, *following)
        return None
    failed = _told_here(plan, claim, path, insist(partial(not_undone, claim, within, steps)))
    if not failed:
        return Outcome("succeeded")
    return Outcome("failed", error=compensation_failed(failed))


def _told_here(plan: Plan, claim: Claim, path: str, failed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the compensations that failed which no try further in has told of already."""
    keys = {key for each in failed for key in tries_inside(plan, path, each)}
    known = fetch(claim, [*keys, *((f"{holder}/{BODY}", at) for holder, at in keys)])
    return untold(plan, path, failed, known)
