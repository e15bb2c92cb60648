"""What follows from a step's outcome: its record, its followers, the scopes it ends, the run it ends."""

from collections.abc import Collection, Iterable
from typing import Any

from nexusflow.workflows.engine.outcomes import child_item, item_prefix
from nexusflow.workflows.engine.scopes import loop_did_not_end
from nexusflow.workflows.language.definition import CONTROL_TYPES
from nexusflow.workflows.planning.graph import BODY, FINALLY
from nexusflow.workflows.planning.plan import Plan, Scope, Segment
from nexusflow.workflows.rows.effects import AwaitedEvent, Effects, Ending, Follower, Inside, Lane, Row
from nexusflow.workflows.rows.signals import NEVER
from nexusflow.workflows.rows.states import STEP_FAILED

CONTROL_OPS = frozenset({"item", "close", "part", "handle", "end"})
PATIENCE_GRACE = 15.0
CONTROL_PATIENCE = 60.0


def patience(plan: Plan, segment: Segment, start: int = 0) -> float:
    """Seconds until the control plane takes the segment for hung, from its op number ``start`` on.

    The timeouts of the ops up to the next record (a pure step's waits for the next effect's), and some grace.
    """
    seconds = PATIENCE_GRACE
    for op in segment.ops[start:]:
        spec = plan.steps[op.path].spec if op.kind in ("step", "undo") else {}
        timeout = (spec["compensate"] if op.kind == "undo" else spec).get("timeout")
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
        own=tuple(each.path for each in segment.ops if each.kind in ("step", "open")),
        above=_above(plan, segment.scope, item),
        mine=op.kind in CONTROL_OPS,
    )


def _above(plan: Plan, scope_path: str, item: str) -> list[dict[str, str]]:
    """The records that, once terminal, say that a scope around is over."""
    found = []
    path: str | None = scope_path
    while path is not None:
        scope = plan.scopes[path]
        if scope.kind == "part":
            found.append({"step": scope.path, "item": item_prefix(item, scope.depth)})
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth)})
        elif scope.kind in ("foreach", "until"):
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth)})
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth - 1)})
        elif scope.kind == "branch":
            found.append({"step": scope.step, "item": item_prefix(item, scope.depth)})
        path = scope.parent
    return found


def inside(plan: Plan, scope_path: str, under: str) -> Inside:
    """What lies in a scope and in all scopes in it, at an item of it."""
    scopes = {path for path in plan.scopes if path == scope_path or path.startswith(f"{scope_path}/")}
    steps = [path for path, step in plan.steps.items() if step.scope in scopes]
    return _inside(plan, steps, [segment.id for segment in plan.segments if segment.scope in scopes], under)


def inside_of(plan: Plan, some: Collection[str], under: str) -> Inside:
    """These steps and what lies in them, at an item of their scope."""
    scopes = {path for path, scope in plan.scopes.items() if scope.step in some}
    scopes |= {path for path in plan.scopes if any(path.startswith(f"{outer}/") for outer in scopes)}
    steps = [path for path, step in plan.steps.items() if path in some or step.scope in scopes]
    segments = [s.id for s in plan.segments if s.scope in scopes or any(op.path in some for op in s.ops)]
    return _inside(plan, steps, segments, under)


def _inside(plan: Plan, steps: list[str], segments: list[int], under: str) -> Inside:
    return Inside(
        segments=segments,
        steps=steps,
        opened=[path for path in steps if plan.steps[path].spec["type"] in CONTROL_TYPES],
        calls=[path for path in steps if plan.steps[path].spec["type"] == "workflow"],
        under=under,
    )


def blame(row: Row) -> dict[str, Any]:
    """The error of a step that failed, with the place of the step that caused it."""
    error = dict(row.error or {"code": "STEP_FAILED", "message": "The step failed.", "cause": "platform"})
    error.setdefault("step", row.step)
    if row.item:
        error.setdefault("item", row.item)
    return error


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
            self.fail_scope(self._plan.scopes[step.scope], row.item, blame(row))

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

    def open_until(self, row: Row, kept: int = 0) -> None:
        """Record that an until runs, and start its first iteration; behind those ``kept``, in a rerun."""
        self.effects.rows.append(row)
        self.follow(self._plan.scopes[row.step].entries, child_item(row.item, kept))

    def open_try(self, row: Row) -> None:
        """Record that a try runs, and start its steps."""
        self.effects.rows.append(row)
        self.enter_part(row.step, BODY, row.item)

    def enter_part(self, step: str, part: str, item: str) -> None:
        """Start a part of a try: its steps, a catch, or what is last."""
        self.follow(self._plan.scopes[f"{step}/{part}"].entries, item)

    def finish_part(self, scope: Scope, row: Row) -> None:
        """A part of a try went well: record it; ``finally`` is next, or the try is over."""
        self.effects.rows.append(row)
        is_last = scope.path == f"{scope.step}/{FINALLY}"
        if is_last:
            self.handle(scope.step, row.item)  # how the try ends, the parts before it say
        elif f"{scope.step}/{FINALLY}" in self._plan.scopes:
            self.enter_part(scope.step, FINALLY, row.item)
        else:
            self.conclude_scope_step(Row(scope.step, row.item, "succeeded", output=row.output))

    def handle(self, step: str, item: str) -> None:
        """Let the try's handler decide what is next."""
        self.effects.followers.append(follower(self._plan, self._plan.closers[step], item))

    def undo(self, holder: str, step: str, item: str) -> None:
        """Compensate a step that succeeded inside of the try ``holder``, which failed."""
        number = self._plan.steps[step].undo
        if number is not None:
            undoing = follower(self._plan, number, item)
            undoing.above = _above(self._plan, self._plan.steps[holder].scope, item)  # what is inside is over
            self.effects.followers.append(undoing)

    def open_wait(self, row: Row, *, delay: float | None = None, due_at: str | None = None) -> None:
        """Record that a step waits; the segment that ends it is due then."""
        self.effects.rows.append(row)
        closer = follower(self._plan, self._plan.closers[row.step], row.item)
        closer.delay, closer.due_at, closer.mine = delay, due_at, False
        self.effects.followers.append(closer)

    def await_event(self, row: Row, event: str, key: str, *, delay: float | None) -> None:
        """Record that a step waits for an event, at most so long (None: without end)."""
        self.open_wait(row, delay=delay, due_at=NEVER if delay is None else None)
        self.effects.awaited = AwaitedEvent(self._plan.closers[row.step], row.step, event, key)

    def finish_iteration(self, scope: Scope, row: Row, *, is_done: bool) -> None:
        """An iteration of an until is over: record it; its end, the next one, or one too many."""
        self.effects.rows.append(row)
        prefix, index = item_prefix(row.item, scope.depth - 1), int(row.item.rpartition(".")[2])
        given = self._plan.steps[scope.step].spec["with"]
        if is_done:
            self.conclude_scope_step(Row(scope.step, prefix, "succeeded", output=row.output))
        elif index + 1 < given["max_iterations"]:
            for entry in scope.entries:
                first = follower(self._plan, entry, child_item(prefix, index + 1))
                first.delay = given["delay"]
                self.effects.followers.append(first)
        else:
            error = loop_did_not_end(index + 1)
            self.conclude_scope_step(Row(scope.step, prefix, "failed", error=error))

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
        elif scope.kind == "part":
            self.effects.rows.append(Row(scope.path, item, "failed", error=error, event=False))
            self.effects.dropped.append(inside(self._plan, scope.path, item))
            self.handle(scope.step, item)
        elif scope.kind == "until":
            here, prefix = item_prefix(item, scope.depth), item_prefix(item, scope.depth - 1)
            self.effects.rows.append(Row(scope.step, here, "failed", error=error, event=False))
            self.conclude_scope_step(Row(scope.step, prefix, "failed", error=error))
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
                self.effects.dropped.append(inside(self._plan, body.path, here))
            self.take_turn(body, prefix, ended=here if body.single is None else None)

    def _drop_inside(self, step: str, item: str) -> None:
        for scope in self._plan.scopes.values():
            if scope.step == step and scope.kind != "workflow":
                self.effects.dropped.append(inside(self._plan, scope.path, item))
