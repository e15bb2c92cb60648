"""Calls of other workflows: a child run is started, and its end is the step's."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nexusflow.db.session import tenant_pipeline
from nexusflow.workflows.engine.consequences import Consequences
from nexusflow.workflows.engine.failing import Stopped
from nexusflow.workflows.engine.insist import insist
from nexusflow.workflows.engine.reading import Reading
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows.effects import Row
from nexusflow.workflows.rows.states import RUN_TERMINAL
from nexusflow.workflows.rows.values import reference
from nexusflow.workflows.rows.work import Claim

PARENT_ENDED = "PARENT_ENDED"
"""The code of a run that was cancelled by the one that called it."""
CALLED = """
SELECT id, status, output, output_at, error FROM runs
WHERE parent_run = %(run)s AND parent_step = %(step)s AND parent_item = %(item)s AND parent_segment IS NOT NULL
"""


@dataclass(frozen=True)
class Call:
    """Which workflow a step calls, with what. ``closer``: the caller's segment that the child's end makes ready; None
    where the step does not wait. ``queue``: that segment's. ``mock``: the caller has mocks.
    """

    tenant: str
    run: str
    step: str
    item: str
    workflow: str
    version: int | None
    input: dict[str, Any]
    closer: int | None
    queue: str
    mock: bool


Caller = Callable[[Call], str]
"""Starts the child, once however often it is asked: its id. Raises StepError, and RunEnding where the caller ends."""


def call_workflow(
    plan: Plan, claim: Claim, reading: Reading, consequences: Consequences, start_child: Caller, row: Row
) -> None:
    """Start the child of a step; ``row``: the step's record to be. Raises StepError, RunEnding, StorageAway."""
    step, closer = plan.steps[row.step], plan.closers.get(row.step)
    given = step.spec["with"]
    call = Call(
        tenant=claim.hint.tenant,
        run=claim.hint.run,
        step=row.step,
        item=row.item,
        workflow=given["workflow"],
        version=given["version"],
        input=reading.resolve(given["input"], step.refs, row.item),
        closer=closer,
        queue=plan.segments[closer].queue if closer is not None else "",
        mock=claim.mock,
    )
    run = insist(partial(start_child, call))
    if closer is None:
        row.state, row.output = "succeeded", {"run_id": run}
    else:
        row.state = "waiting"  # the child may be over by now: its record then stands, and this one is not written
        consequences.effects.rows.append(row)


def returned(claim: Claim, step: str, item: str) -> Row | None:
    """The record of a call whose child is over; None while it is not. Raises Stopped."""
    hint = claim.hint
    with tenant_pipeline(hint.tenant) as pipeline:
        pipeline.begin()
        found = pipeline.run(CALLED, {"run": hint.run, "step": step, "item": item})
    child = found.fetchone()
    if child is None or child[1] not in RUN_TERMINAL:
        return None
    run, status, output, output_at, error = child
    if status == "cancelled" and (error or {}).get("code") == PARENT_ENDED:
        raise Stopped  # it was this run that did so: whoever stops the step says what becomes of it
    if status == "succeeded":
        return Row(step, item, "succeeded", output=reference(hint.tenant, output, output_at))
    return Row(step, item, "timed_out" if status == "timed_out" else "failed", error=_told(error or {}, str(run)))


def _told(error: dict[str, Any], run: str) -> dict[str, Any]:
    """The child's error as the caller's: its code and cause, so that it can be caught; its place is the child's."""
    told = {name: each for name, each in error.items() if name not in ("step", "item", "called")}
    inside = {"run": run} | {name: error[name] for name in ("step", "item") if name in error}
    return {"cause": "user", **told, "called": inside}
