"""A run as the definition means it, in memory: what may start when, written without any use of plan or canvas code."""

from dataclasses import dataclass, field
from random import Random

from nexusflow.workflows.definition import Definition, ForeachStep, Quorum, SwitchStep
from nexusflow.workflows.plan import Op, Plan, Segment

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

    Every step succeeds. ``needs`` and ``wanted`` come from the definition alone: step path → what it waits for.
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
    ended: bool = False

    def __post_init__(self) -> None:
        self._read(self.definition.steps, "")

    def _read(self, steps, prefix: str) -> None:
        for step in steps:
            path = prefix + step.id
            self.needs[path] = tuple(prefix + need for need in step.needs)
            quorum = step.join.n if isinstance(step.join, Quorum) else 1 if step.join == "any_success" else None
            self.wanted[path] = len(set(step.needs)) if quorum is None else quorum
            if isinstance(step, ForeachStep):
                self._read(step.steps, f"{path}/")
            if isinstance(step, SwitchStep):
                for number, case in enumerate(step.cases):
                    self._read(case.steps, f"{path}/{number}/")
                if step.default is not None:
                    self._read(step.default.steps, f"{path}/default/")

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
        if op.kind == "item":
            self._assert_over(segment.scope, item)
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
        if path in self.plan.closers:
            count = self.dice.randrange(3)
            self.items_left[path, item] = count
            if count == 0:
                return self._fire([self.plan.closers[path]], item)
            inner = [f"{item}.{number}" if item else str(number) for number in range(count)]
            return [work for each in inner for work in self._enter(path, each)]
        branches = [scope.path for scope in self.plan.scopes.values() if scope.step == path]
        branch = self.dice.choice([*branches, None])
        return self._record(path, item) if branch is None else self._enter(branch, item)

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

    def _fire(self, segments, item: str) -> list[Work]:
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
