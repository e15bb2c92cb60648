"""What a rerun keeps of the run that it repeats, told by that run's records. No database: it is given their states.

A scope that succeeded is kept whole, with all that is in it. One that did not is opened again, and what is in it is
judged one by one: steps that succeeded or were skipped are kept, all others are done. Not kept, although it
succeeded, is what was undone by a compensation and what comes after that; the catches and the ``finally`` of a try
whose steps failed; and, where a rerun begins at a step, this one and what comes after it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from nexusflow.workflows.engine.outcomes import Key, item_prefix
from nexusflow.workflows.language.definition import CONTROL_TYPES, SCOPE_TYPES
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan, Scope

States = Mapping[str, Mapping[str, str]]
"""The states of a run's records: by path, then by item."""
DONE = frozenset({"succeeded", "skipped"})
BAD = frozenset({"failed", "timed_out", "cancelled", "blocked"})
UNDO = "/compensate"


@dataclass
class Kept:
    """What a rerun begins with.

    ``records``: keys of records taken over as they are; ``whole``: those of them that lie in a scope kept whole.
    ``lists``: foreaches that had begun: they go on with the list they had.
    ``again``: of each step with an effect, the items at which it had succeeded and is done again; ``unfinished``: those
    at which it had begun and had not succeeded. ``anew``: the steps of which all that is done counts as done for the
    first time, because they come after the step where the rerun begins.
    """

    records: set[Key] = field(default_factory=set)
    whole: set[Key] = field(default_factory=set)
    lists: set[Key] = field(default_factory=set)
    again: dict[str, set[str]] = field(default_factory=dict)
    unfinished: dict[str, set[str]] = field(default_factory=dict)
    anew: frozenset[str] = frozenset()


def keep(before: Plan, after: Plan, states: States, step: str | None = None) -> Kept:
    """What a rerun on the plan ``after`` keeps of a run of the plan ``before``; ``step``: where it begins.

    Without a step it does what failed. The step stands in no loop, and in no catch or ``finally``.
    """
    return _Keeping(before, after, states, step).kept()


def keep_nothing(before: Plan, after: Plan, states: States) -> Kept:
    """What is to be known of a rerun from the start."""
    found = Kept(anew=frozenset(name for path in after.steps for name in (path, f"{path}{UNDO}")))
    for path, items in states.items():
        if path in before.steps:
            for item, state in items.items():
                _count(before, path, item, state, found)
    return found


def _count(plan: Plan, path: str, item: str, state: str, found: Kept) -> None:
    """What is not kept of a step: whether it had succeeded, or had begun."""
    is_leaf = plan.steps[path].spec["type"] not in SCOPE_TYPES
    if state == "succeeded" and is_effect(plan, path):
        found.again.setdefault(path, set()).add(item)
    elif is_leaf and state not in DONE and state != "blocked":
        found.unfinished.setdefault(path, set()).add(item)


def holders(plan: Plan, scope: str, item: str) -> Iterator[tuple[Scope, str, str]]:
    """The scopes around, innermost first, each with the item inside of it and that of the step that holds it."""
    while scope:
        found = plan.scopes[scope]
        scope = found.parent or ""
        yield found, item_prefix(item, found.depth), item_prefix(item, plan.scopes[scope].depth)


def descendants(plan: Plan, step: str) -> frozenset[str]:
    """The steps of the same scope that need a step, directly or through others."""
    found: set[str] = set()
    left = [step]
    while left:
        needed = left.pop()
        for other in plan.scopes[plan.steps[step].scope].steps:
            if other not in found and needed in plan.steps[other].needs:
                found.add(other)
                left.append(other)
    return frozenset(found)


def is_effect(plan: Plan, step: str) -> bool:
    """Whether a step does something outside of NexusFlow."""
    return plan.steps[step].spec["type"] not in CONTROL_TYPES and not plan.steps[step].pure


class _Keeping:
    """One selection. Keys name steps at items; a loop's step at the item of one round names that round."""

    def __init__(self, before: Plan, after: Plan, states: States, step: str | None) -> None:
        self._plan, self._after, self._states, self._step = before, after, states, step
        self._redone: set[Key] = set()
        self._open: set[Key] = set()
        """Scopes, and rounds of loops, that succeeded and have something in them that is done again."""
        self._left: set[Key] = set()
        """Tries whose catches and ``finally`` are decided anew."""
        self._descendants = cache(lambda step: descendants(before, step))
        self._begins_again = cache(self._ran_out)

    def kept(self) -> Kept:
        if self._step is not None:
            for plan in (self._plan, self._after):
                if self._step in plan.steps:
                    self._redo(plan, self._step, "")
        found = Kept(anew=self._all_after())
        for path, item in self._records():
            state = self._states[path][item]
            if self._step_of(path) != path and state == "succeeded":
                self._redo_undone(self._step_of(path), item)
            elif state in BAD and self._is_leaf(path):
                self._reopen(self._plan.steps[path].scope, item)
            elif state in BAD and path in self._plan.scopes and not self._is_own(path, item):
                self._reopen(path, item)
        for path, item in self._records():
            self._judge(path, item, found)
        return found

    def _records(self) -> Iterator[Key]:
        for path, items in self._states.items():
            if self._step_of(path) in self._plan.steps or path in self._plan.scopes:
                yield from ((path, item) for item in items)

    def _step_of(self, path: str) -> str:
        """The step that a record is about: another path than its own if it is that of a compensation."""
        return path if path in self._plan.steps or path in self._plan.scopes else path.removesuffix(UNDO)

    def _state(self, path: str, item: str) -> str | None:
        return self._states.get(path, {}).get(item)

    def _is_leaf(self, path: str) -> bool:
        return path in self._plan.steps and self._plan.steps[path].spec["type"] not in SCOPE_TYPES

    # What is done again although it had succeeded.

    def _redo(self, plan: Plan, step: str, item: str) -> None:
        """A step and all that comes after it, up to the workflow's end."""
        self._redo_here(plan, step, item)
        for scope, _, outside in holders(plan, plan.steps[step].scope, item):
            self._open.add((scope.step, outside))
            self._left.add((scope.step, outside))
            self._redone |= {(each, outside) for each in descendants(plan, scope.step)}

    def _redo_here(self, plan: Plan, step: str, item: str) -> None:
        self._redone |= {(step, item), *((each, item) for each in descendants(plan, step))}

    def _redo_undone(self, step: str, item: str) -> None:
        """A step that was undone, and what comes after it inside of the try that undid it."""
        around = list(holders(self._plan, self._plan.steps[step].scope, item))
        if any(self._is_final(scope, outside) for scope, _, outside in around):
            return
        self._redo_here(self._plan, step, item)
        for scope, inside, outside in around:
            if scope.kind == "part" and self._body_failed(scope.step, outside):
                return
            self._open |= {(scope.step, outside), (scope.step, inside)}
            self._redone |= {(each, outside) for each in self._descendants(scope.step)}

    def _reopen(self, around: str, item: str) -> None:
        """What holds something that went badly is not over, unless its own end was good all the same."""
        for scope, inside, outside in holders(self._plan, around, item):
            if self._is_final(scope, outside):
                return
            self._open |= {(scope.step, outside), (scope.step, inside)}

    def _is_final(self, scope: Scope, outside: str) -> bool:
        """A loop that came to its end, and a try whose failure was caught, went well whatever is in them."""
        if self._state(scope.step, outside) != "succeeded" or (scope.step, outside) in self._open:
            return False
        return scope.kind == "until" or (scope.kind == "part" and self._body_failed(scope.step, outside))

    def _body_failed(self, step: str, item: str) -> bool:
        return self._state(f"{step}/{BODY}", item) == "failed"

    def _all_after(self) -> frozenset[str]:
        """The paths of the step where the rerun begins and of all that comes after it, as the run will do them."""
        if self._step is None:
            return frozenset()
        found = set()
        for path in self._after.steps:
            around = [scope for scope, _, _ in holders(self._after, self._after.steps[path].scope, "")]
            later = [scope for scope in around if scope.kind == "part" and scope.path != f"{scope.step}/{BODY}"]
            redone = any((each, "") in self._redone for each in (path, *(scope.step for scope in around)))
            if redone or any((scope.step, "") in self._left for scope in later):
                found |= {path, f"{path}{UNDO}"}
        return frozenset(found)

    # What is kept.

    def _judge(self, path: str, item: str, found: Kept) -> None:
        step, state, is_own = self._step_of(path), self._states[path][item], self._is_own(path, item)
        scope = path if path in self._plan.scopes and not is_own else self._plan.steps[step].scope
        verdict = self._inside(scope, item)
        if verdict is None and is_own:
            verdict = self._is_kept(path, item, state)
            if not verdict and state not in ("blocked", "skipped") and (path, item) not in self._redone:
                found.lists |= {(path, item)} if self._plan.steps[path].spec["type"] == "foreach" else set()
        elif verdict:
            found.whole.add((path, item))
        if verdict:
            # Of what is kept whole, only what the run's own version knows: nothing else could be shown.
            if step in self._after.steps or step in self._after.scopes or (path, item) not in found.whole:
                found.records.add((path, item))
        elif is_own:
            _count(self._plan, path, item, state, found)
        elif path != step and state == "succeeded":
            found.again.setdefault(path, set()).add(item)

    def _is_own(self, path: str, item: str) -> bool:
        """Whether a record is that of a step itself: not that of a round of a loop, or of a part of a try."""
        if path not in self._plan.steps:
            return False
        depth = self._plan.scopes[self._plan.steps[path].scope].depth
        return depth == (item.count(".") + 1 if item else 0)

    def _inside(self, scope: str, item: str) -> bool | None:
        """Whether what lies there is kept because of what is around it; None where that does not decide."""
        for around, inside, outside in reversed(list(holders(self._plan, scope, item))):
            holder = (around.step, outside)
            if holder in self._redone:
                return False
            if self._is_settled(*holder):
                return True
            if around.kind == "part" and around.path != f"{around.step}/{BODY}":
                if holder in self._left or self._body_failed(*holder):
                    return False
            elif around.kind == "until":
                if self._begins_again(*holder):
                    return False
                if self._state(around.step, inside) == "succeeded":
                    return True
            elif around.kind == "foreach" and self._is_done(around.step, inside):
                return True
        return None

    def _is_settled(self, step: str, item: str) -> bool:
        key = (step, item)
        return self._state(step, item) in DONE and key not in self._open and key not in self._redone

    def _is_done(self, foreach: str, inside: str) -> bool:
        """Whether an item can be passed without a look at its steps: lanes pass only those of one segment so."""
        body = self._after.scopes.get(foreach)
        is_single = body is not None and body.single is not None
        return is_single and self._state(foreach, inside) == "succeeded" and (foreach, inside) not in self._open

    def _ran_out(self, until: str, item: str) -> bool:
        """An until that only took too many iterations would end there at once, if it kept them."""
        rounds = self._states.get(until, {})
        depth = item.count(".") + 2 if item else 1
        mine = [state for each, state in rounds.items() if each != item and item_prefix(each, depth - 1) == item]
        return rounds.get(item) == "failed" and "failed" not in mine

    def _is_kept(self, path: str, item: str, state: str) -> bool:
        if (path, item) in self._redone or state not in DONE:
            return False
        return self._is_leaf(path) or (path, item) not in self._open
