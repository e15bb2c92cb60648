"""A run as the definition means it, in memory: what may start when, written without any use of plan or canvas code."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from nexusflow.workflows.language.definition import (
    ActionStep,
    AnyStep,
    Definition,
    ForeachStep,
    SwitchStep,
    TryStep,
    UntilStep,
)
from nexusflow.workflows.language.words import Quorum
from nexusflow.workflows.planning.plan import Op, Plan, Segment

Place = tuple[str, str]
"""A step's path, and its item."""


@dataclass
class Work:
    """One segment to execute, at one item."""

    segment: int
    item: str


@dataclass
class ReferenceRun:
    """Executes segments one at a time, checks every rule of the definition, and tells what became ready.

    Every action succeeds; parts of a try may fail at their end (``parts``: the last one that is over, and whether it
    failed); what was done in one whose steps failed is then undone (``holders``: by which try).
    ``needs`` and ``wanted`` come from the definition alone: step path → what it waits for.
    """

    definition: Definition
    plan: Plan
    dice: Random
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)
    recorded: set[Place] = field(default_factory=set)
    started: set[Place] = field(default_factory=set)
    claimed: set[tuple[int, str]] = field(default_factory=set)
    fired: set[tuple[int, str]] = field(default_factory=set)
    items_left: dict[Place, int] = field(default_factory=dict)
    parts: dict[Place, tuple[str, bool]] = field(default_factory=dict)
    compensated: dict[str, bool] = field(default_factory=dict)
    holders: dict[Place, Place] = field(default_factory=dict)
    undone: set[Place] = field(default_factory=set)
    ended: bool = False

    def __post_init__(self) -> None:
        self._read(self.definition.steps, "")

    def _read(self, steps: Iterable[AnyStep], prefix: str) -> None:
        for step in steps:
            path = prefix + step.id
            self.needs[path] = tuple(prefix + need for need in step.needs)
            quorum = step.join.n if isinstance(step.join, Quorum) else 1 if step.join == "any_success" else None
            self.wanted[path] = len(set(step.needs)) if quorum is None else quorum
            self.compensated[path] = isinstance(step, ActionStep) and step.compensate is not None
            for inside, inner in _bodies(step):
                self._read(inner, f"{path}{inside}/")

    def start(self) -> list[Work]:
        """What is ready at the start of the run."""
        return self._enter("", "")

    def execute(self, work: Work) -> list[Work]:
        """Do a segment; returns what became ready by it."""
        segment = self.plan.segments[work.segment]
        key = (work.segment, work.item)
        assert key in self.fired, f"{segment} was published before it was ready"
        assert key not in self.claimed, f"{segment} was published twice"
        self.claimed.add(key)
        ready: list[Work] = []
        for op in segment.ops:
            assert not ready, f"{[work.segment for work in ready]} wait for the rest of {segment}"
            ready = self._do(segment, op, work.item)
        if segment.ops[0].kind == "handle":
            # A try's handler is asked again, about the next of its parts.
            self.claimed.discard(key)
            self.fired.discard(key)
        return ready

    def may_start(self, path: str, item: str) -> bool:
        """Whether the definition lets a step start now."""
        done = sum((need, item) in self.recorded for need in set(self.needs[path]))
        return done >= self.wanted[path]

    def _do(self, segment: Segment, op: Op, item: str) -> list[Work]:
        if op.kind in ("step", "open"):
            assert (op.path, item) not in self.started, f"{op.path} started twice"
            assert self.may_start(op.path, item), f"{op.path} started before its needs"
            self.started.add((op.path, item))
        if op.kind == "step":
            return self._record(op.path, item)
        if op.kind == "open":
            return self._open(op.path, item)
        if op.kind == "part":
            self._assert_over(segment.scope, item)
            return self._end_part(op.path, segment.scope, item)
        if op.kind == "handle":
            return self._handle(op.path, item)
        if op.kind == "undo":
            holder, at = self.holders[op.path, item]
            self.undone.add((op.path, item))
            return self._fire([self.plan.closers[holder]], at)
        if op.kind == "item":
            self._assert_over(segment.scope, item)
            if self.plan.scopes[segment.scope].kind == "until":
                return self._iterate(op.path, item)
            outer = item.rpartition(".")[0]
            self.items_left[op.path, outer] -= 1
            return [] if self.items_left[op.path, outer] else self._fire([self.plan.closers[op.path]], outer)
        if op.kind == "close":
            if segment.scope != self.plan.steps[op.path].scope:
                self._assert_over(segment.scope, item)
            return self._record(op.path, item)
        self._assert_over("", "")
        assert not self.ended
        self.ended = True
        return []

    def _open(self, path: str, item: str) -> list[Work]:
        kind = self.plan.steps[path].spec["type"]
        if kind in ("wait", "workflow"):
            closer = self.plan.closers.get(path)
            return self._fire([closer], item) if closer is not None else self._record(path, item)
        if kind == "try":
            return self._enter(f"{path}/try", item)
        if kind == "until":
            return self._enter(path, f"{item}.0" if item else "0")
        if kind == "foreach":
            count = self.dice.randrange(3)
            self.items_left[path, item] = count
            if count == 0:
                return self._fire([self.plan.closers[path]], item)
            inner = [f"{item}.{number}" if item else str(number) for number in range(count)]
            return [work for each in inner for work in self._enter(path, each)]
        branches = [scope.path for scope in self.plan.scopes.values() if scope.step == path]
        branch = self.dice.choice([*branches, None])
        return self._record(path, item) if branch is None else self._enter(branch, item)

    def _iterate(self, path: str, item: str) -> list[Work]:
        """An iteration is over: perhaps it was the last one."""
        outer, _, index = item.rpartition(".")
        if self.dice.random() < 0.6 or int(index) == 3:
            return self._record(path, outer)
        return self._enter(path, f"{outer}.{int(index) + 1}" if outer else str(int(index) + 1))

    def _end_part(self, path: str, part: str, item: str) -> list[Work]:
        """A part of a try is over; where its output cannot be worked out, it failed, and the handler is asked."""
        has_last = f"{path}/finally" in self.plan.scopes
        failed = self.dice.random() < 0.4
        self.parts[path, item] = part.rpartition("/")[2], failed
        if failed or part == f"{path}/finally":
            return self._fire([self.plan.closers[path]], item)
        return self._enter(f"{path}/finally", item) if has_last else self._record(path, item)

    def _handle(self, path: str, item: str) -> list[Work]:
        name, failed = self.parts[path, item]
        if name == "try" and failed and (left := self._left_to_undo(f"{path}/try/", item)):
            place = self.dice.choice(left)
            self.holders[place] = path, item
            number = self.plan.steps[place[0]].undo
            assert number is not None
            return self._fire([number], place[1])
        catches = [scope for scope in self.plan.scopes if scope.removeprefix(f"{path}/catch").isdigit()]
        if name == "try" and failed and catches and self.dice.random() < 0.8:
            return self._enter(self.dice.choice(catches), item)
        has_last = name != "finally" and f"{path}/finally" in self.plan.scopes
        return self._enter(f"{path}/finally", item) if has_last else self._record(path, item)

    def _left_to_undo(self, inside: str, item: str) -> list[Place]:
        """What has a compensation and is done, below a path at an item, and is not undone yet."""
        stem = f"{item}." if item else ""
        return sorted(
            (path, at)
            for path, at in self.recorded - self.undone
            if path.startswith(inside) and (at == item or at.startswith(stem)) and self.compensated[path]
        )

    def _enter(self, scope: str, item: str) -> list[Work]:
        assert self.plan.scopes[scope].entries
        return self._fire(self.plan.scopes[scope].entries, item)

    def _record(self, path: str, item: str) -> list[Work]:
        assert (path, item) not in self.recorded, f"{path} recorded twice"
        self.recorded.add((path, item))
        ready = []
        for number in self.plan.followers[path]:
            segment = self.plan.segments[number]
            done = sum((need, item) in self.recorded for need in segment.needs)
            wanted = len(segment.needs) if segment.quorum is None else segment.quorum
            if done >= wanted and (number, item) not in self.fired:
                ready.append(number)
        return self._fire(ready, item)

    def _fire(self, segments: Iterable[int], item: str) -> list[Work]:
        for number in segments:
            assert (number, item) not in self.fired
            self.fired.add((number, item))
        return [Work(number, item) for number in segments]

    def _assert_over(self, scope: str, item: str) -> None:
        for path in self.plan.scopes[scope].steps:
            assert (path, item) in self.recorded, f"{scope or 'the workflow'} ended before {path}"

    def assert_nothing_waits(self, in_hand: set[tuple[int, str]]) -> None:
        """Every step that may start is started, or is the first op of a segment that was handed out."""
        heads = {(self.plan.segments[number].ops[0].path, item) for number, item in in_hand}
        for path, item in self._live_places():
            if (path, item) not in self.started and self.may_start(path, item):
                assert (path, item) in heads, f"{path} waits for what it does not need"

    def _live_places(self) -> set[Place]:
        """Every step of every scope entered so far."""
        entered = {(self.plan.segments[number].scope, item) for number, item in self.fired}
        return {(path, item) for scope, item in entered for path in self.plan.scopes[scope].steps}


def _bodies(step: AnyStep) -> Iterator[tuple[str, tuple[AnyStep, ...]]]:
    """The scopes of a step: what their paths add to its own, and their steps."""
    if isinstance(step, ForeachStep | UntilStep):
        yield "", step.steps
    elif isinstance(step, SwitchStep):
        yield from ((f"/{number}", case.steps) for number, case in enumerate(step.cases))
        if step.default is not None:
            yield "/default", step.default.steps
    elif isinstance(step, TryStep):
        yield "/try", step.steps
        yield from ((f"/catch{number}", each.steps) for number, each in enumerate(step.catch))
        if step.finally_ is not None:
            yield "/finally", step.finally_.steps
