"""What follows from a step's outcome: its record, its followers, the scopes it ends, the run it ends."""

from collections.abc import Iterable
from typing import Any

from nexusflow.workflows.outcomes import child_item, item_prefix
from nexusflow.workflows.plan import Plan, Scope, Segment
from nexusflow.workflows.states import STEP_FAILED
from nexusflow.workflows.work import Effects, Ending, Follower, Lane, Row

CONTROL_OPS = frozenset({"item", "close", "end"})
PATIENCE_GRACE = 15.0
CONTROL_PATIENCE = 60.0


def patience(plan: Plan, segment: Segment, start: int = 0) -> float:
    """Seconds until the control plane takes the segment for hung, from its op number ``start`` on.

    The timeouts of the ops up to the next record (a pure step's waits for the next effect's), and some grace.
    """
    seconds = PATIENCE_GRACE
    for op in segment.ops[start:]:
        timeout = plan.steps[op.path].spec.get("timeout") if op.kind == "step" else None
        seconds += timeout or CONTROL_PATIENCE
        if op.kind != "step" or not plan.steps[op.path].pure:
            break
    return seconds


def follower(plan: Plan, segment_id: int, item: str, *, lo: int = 0, hi: int = 0) -> Follower:
    """The segment as a row to be, at this item, with what decides whether it is ready."""
    segment = plan.segments[segment_id]
    op = segment.ops[0]
    return Follower(
        segment=segment_id,
        item=item,
        queue=segment.queue,
        lo=lo,
        hi=hi,
        patience=patience(plan, segment),
        needs=segment.needs,
        quorum=segment.quorum,
        first=op.path if op.kind in ("step", "open") else None,
        above=_above(plan, segment.scope, item),
        mine=op.kind in CONTROL_OPS,
    )


def _above(plan: Plan, scope_path: str, item: str) -> list[dict[str, str]]:
    """The records that, once terminal, say that a scope around is over."""
    found = []
    path: str | None = scope_path
    while path is not None:
        scope = plan.scopes[path]
        if scope.kind == "foreach":
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth)})
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth - 1)})
        elif scope.kind == "branch":
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth)})
        path = scope.parent
    return found


def subtree(plan: Plan, scope_path: str) -> list[int]:
    """The segments of a scope and of all scopes in it."""
    inside = {path for path in plan.scopes if path == scope_path or path.startswith(f"{scope_path}/")}
    return [segment.id for segment in plan.segments if segment.scope in inside]


class Consequences:
    """Gathers what the claim of one segment is to write; ``effects`` is the result."""

    def __init__(self, plan: Plan, segment: int) -> None:
        self._plan, self._segment = plan, segment
        self.effects = Effects()

    def conclude(self, row: Row) -> None:
        """A step is over: record it; a failure that is not continued fails the scope around it."""
        self.effects.rows.append(row)
        step = self._plan.steps[row.step]
        if row.state in STEP_FAILED and row.state != "blocked" and step.spec.get("on_error", "fail") == "fail":
            self.fail_scope(self._plan.scopes[step.scope], row.item, self._blame(row))

    def conclude_scope_step(self, row: Row) -> None:
        """A foreach or switch is over, and with it all that runs inside; its followers may start."""
        self.conclude(row)
        if row.state in STEP_FAILED:
            self._drop_inside(row.step, row.item)
        self.follow(self._plan.followers[row.step], row.item)

    def follow(self, segments: Iterable[int], item: str) -> None:
        """These segments may have become ready."""
        self.effects.followers.extend(follower(self._plan, segment, item) for segment in segments)

    def open_foreach(self, row: Row) -> None:
        """Record a foreach's list and start its first lanes (or close it, if the list is empty)."""
        items, step = row.items or [], self._plan.steps[row.step]
        body = self._plan.scopes[row.step]
        lanes = min(len(items), step.spec["with"]["max_parallel"])
        row.cursor, row.items_count = lanes, len(items)
        self.effects.rows.append(row)
        if not items:
            self.effects.followers.append(follower(self._plan, self._plan.closers[row.step], row.item))
        for index in range(lanes):
            if body.single is not None:
                self.effects.followers.append(follower(self._plan, body.single, row.item, lo=index, hi=index + 1))
            else:
                self.follow(body.entries, child_item(row.item, index))

    def open_branch(self, scope: Scope, item: str) -> None:
        """Start the chosen branch of a switch."""
        self.follow(scope.entries, item)

    def finish_item(self, foreach: str, item: str, row: Row) -> None:
        """An item of a foreach is over: record it and let its lane take the next."""
        body = self._plan.scopes[foreach]
        row.cursor = self._segment
        self.effects.rows.append(row)
        self.take_turn(body, item_prefix(item, body.depth - 1), ended=item)

    def take_turn(self, body: Scope, prefix: str, *, take: int = 1, ended: str | None = None) -> None:
        """The lane's next item(s), or the end of the foreach; ``ended``: the item this segment (of several) ended."""
        entries = (
            []
            if body.single is not None
            else [
                {
                    "segment": entry,
                    "queue": self._plan.segments[entry].queue,
                    "patience": patience(self._plan, self._plan.segments[entry]),
                }
                for entry in body.entries
            ]
        )
        closer = follower(self._plan, self._plan.closers[body.step], prefix)
        self.effects.lane = Lane(body.step, prefix, closer, take, ended, entries)

    def fail_scope(self, scope: Scope, item: str, error: dict[str, Any]) -> None:
        """A failure nobody continued: it ends its item, its branch or the run."""
        if scope.kind == "workflow":
            self.effects.ending = Ending("failed", error)
        elif scope.kind == "branch":
            self.conclude_scope_step(Row(scope.step, item, "failed", error=error))
        else:
            self._fail_item(scope, item, error)

    def _fail_item(self, body: Scope, item: str, error: dict[str, Any]) -> None:
        policy = self._plan.steps[body.step].spec["with"]["on_item_error"]
        here, prefix = item_prefix(item, body.depth), item_prefix(item, body.depth - 1)
        output = {"error": error} if policy == "collect" else None
        event = policy != "fail"
        row = Row(body.step, here, "failed", output=output, error=error, cursor=self._segment, event=event)
        self.effects.rows.append(row)
        if policy == "fail":
            self.conclude_scope_step(Row(body.step, prefix, "failed", error=error))
        else:
            if body.single is None:
                self.effects.dropped.append((subtree(self._plan, body.path), here))
            self.take_turn(body, prefix, ended=here if body.single is None else None)

    def _drop_inside(self, step: str, item: str) -> None:
        for scope in self._plan.scopes.values():
            if scope.step == step and scope.kind != "workflow":
                self.effects.dropped.append((subtree(self._plan, scope.path), item))

    def _blame(self, row: Row) -> dict[str, Any]:
        """The step's error with the place of the step that caused it."""
        error = dict(row.error or {"code": "STEP_FAILED", "message": "The step failed.", "cause": "platform"})
        error.setdefault("step", row.step)
        if row.item:
            error.setdefault("item", row.item)
        return error
