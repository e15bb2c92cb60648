"""What a claimed segment reads: the records its ops need, and the values of its expressions."""

from typing import Any

from nexusflow.workflows.engine.act import refuse_too_large
from nexusflow.workflows.engine.outcomes import LIST, Key, Outcome, Surroundings, fetch_items
from nexusflow.workflows.engine.trying import parts_of, tries_around
from nexusflow.workflows.evaluation.expressions import resolve
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.planning.plan import Op, Plan, Scope, Segment
from nexusflow.workflows.rows.values import Kept, resolved
from nexusflow.workflows.rows.work import Claim


class Reading:
    """One claim's reading; ``known``: the records read so far, and those that the claim has made."""

    def __init__(self, plan: Plan, claim: Claim, input_value: Any) -> None:
        self._plan, self._claim = plan, claim
        self._segment: Segment = plan.segments[claim.hint.segment]
        self._scope: Scope = plan.scopes[self._segment.scope]
        self._around = Surroundings(plan, claim, input_value)
        self.known: dict[Key, Outcome] = self._around.known

    def load(self, items: list[str]) -> None:
        """Read what the segment's ops need at these items, in at most one round trip."""
        keys: list[Key] = []
        # A join may be fired again by a member whose statement began before another fired it, and all of it was done.
        # And a rerun begins with the records that it has kept.
        resumed = len(self._segment.needs) > 1 or (
            self._claim.losses > 0 or self._claim.attempts > 0 or self._claim.verdict is not None
        )
        # A step that is not needed any more may be cancelled before it began.
        resumed = resumed or any(op.path in self._plan.dispensable for op in self._segment.ops)
        resumed = resumed or self._claim.family is not None
        for item in items:
            keys += [(need, item) for need in self._segment.needs]
            for op in self._segment.ops:
                keys += self._keys_of(op, item)
                if resumed and op.kind in ("step", "open"):
                    keys += [(op.path, item), (op.path + LIST, item)]
            if self._scope.single is not None:
                keys += self._around.keys_for(self._scope.refs, self._scope.path, item)
                if resumed:
                    keys.append((self._scope.step, item))
        own = {op.path for op in self._segment.ops if op.kind == "step"}
        self._around.load([key for key in keys if resumed or key[0] not in own])

    def _keys_of(self, op: Op, item: str) -> list[Key]:
        if op.kind in ("step", "open"):
            return self._around.keys_for(self._plan.steps[op.path].refs, self._scope.path, item)
        if op.kind == "handle":
            return [(f"{op.path}/{part}", item) for part in parts_of(self._plan, op.path)]
        if op.kind == "undo":
            keys = self._around.keys_for(self._plan.steps[op.path].undo_refs, self._scope.path, item)
            return [*keys, (f"{op.path}/compensate", item), *tries_around(self._plan, op.path, item)]
        if op.kind == "close" and self._scope.step != op.path:
            return []
        keys = self._around.keys_for(self._scope.refs, self._scope.path, item)
        return keys if self._scope.output is not None else [*keys, (self._scope.last, item)]

    def state(self, need: str, item: str) -> str:
        """The state of a step that was needed."""
        outcome = self.known.get((need, item))
        return outcome.state if outcome is not None else "pending"

    def resolve(self, value: Any, refs: tuple[str, ...], item: str) -> Any:
        """A value of the definition with its expressions' values in it. Raises Permanent, StorageAway."""
        return resolve(value, self.roots(refs, item), get_sandbox())

    def roots(self, refs: tuple[str, ...], item: str) -> dict[str, Any]:
        """What expressions with these references see at this item."""
        return self._around.expression_scope(refs, self._scope.path, item)

    def output(self, item: str) -> Any:
        """What the segment's scope gives at this item."""
        if self._scope.output is None:
            last = self.known.get((self._scope.last, item))
            return last.output if last is not None else None
        return self.resolve(self._scope.output, self._scope.refs, item)

    def collect(self, foreach: str, prefix: str) -> list[Any]:
        """What a foreach gives: its items' outputs, in their order. Raises Permanent VALUE_TOO_LARGE."""
        skip = self._plan.steps[foreach].spec["with"]["on_item_error"] == "skip"
        outcomes = fetch_items(self._claim, foreach, prefix)
        found = [each.output for each in outcomes if not (skip and each.state != "succeeded")]
        refuse_too_large(sum(each.size for each in found if isinstance(each, Kept)))  # before they are in memory
        return [resolved(each) for each in found]
