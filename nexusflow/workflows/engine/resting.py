"""What a join went on without: the rest of its needs, and all that only leads there, is cancelled."""

from functools import partial

from nexusflow.workflows.engine.consequences import inside_of
from nexusflow.workflows.engine.failing import Waiting
from nexusflow.workflows.engine.insist import insist
from nexusflow.workflows.planning.plan import Op, Plan, Segment
from nexusflow.workflows.rows.work import Claim, cancel_rest, halt

SECONDS, LONGEST = 0.01, 0.5
"""How soon to look again whether a scope or a wait that is just being opened is open, at first and at last."""


def stop_rest(plan: Plan, claim: Claim, op: Op, item: str) -> None:
    """Before a step begins: cancel what it does not need any more, if its join says so.

    What waits or is ready goes; what a worker is at may finish, and nothing follows it in its segment. Raises Waiting
    for the moment in which a worker opens something: what is open can be closed.
    """
    rest = plan.steps[op.path].rest if op.kind in ("step", "open") else ()
    if not rest:
        return
    inside = inside_of(plan, rest, item)
    left = insist(partial(halt, claim, inside))
    at_work = [plan.segments[number] for number, at in left if at == item]
    if any(_opens(plan, segment) for segment in at_work):
        attempts = claim.attempts + 1
        raise Waiting([], min(SECONDS * 2.0 ** min(attempts, 10), LONGEST), attempts)
    busy = {each.path for segment in at_work for each in segment.ops}
    insist(partial(cancel_rest, claim, inside, [step for step in rest if step not in busy]))


def _opens(plan: Plan, segment: Segment) -> bool:
    """Whether the segment soon opens something: it does nothing before that would let it notice that it is stopped."""
    *before, last = segment.ops
    return last.kind == "open" and all(plan.steps[op.path].pure for op in before)
