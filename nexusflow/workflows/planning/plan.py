"""The plan: a definition as segments, scopes and gates, stored with its version and read by the runner.

A step's **path** is its place in the definition: ``fetch``, ``each/put`` (body of foreach ``each``),
``size/1/notify`` (second case of switch ``size``), ``size/default/notify``. A **scope** path is the
prefix: ``""`` (the workflow), ``each``, ``size/1``, ``size/default``. An **item** is where in the
enclosing foreaches a step runs: ``""`` outside, ``3`` in one foreach, ``3.0`` in two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeVar, get_origin

from nexusflow.queues import WORKFLOW
from nexusflow.workflows.language.definition import (
    ActionInfo,
    ActionStep,
    AnyStep,
    CallStep,
    Definition,
    ForeachStep,
    TryStep,
    WaitStep,
)
from nexusflow.workflows.language.words import Quorum
from nexusflow.workflows.planning.graph import ScopeGraph, ScopeKind, scope_graphs
from nexusflow.workflows.planning.reads import output_reads, step_reads, undo_reads
from nexusflow.workflows.planning.segments import ANY, fuse
from nexusflow.workflows.planning.seriesparallel import Place, Tree, find_places, reduce_to_stages

FORMAT = 1
"""The number of the stored form; a plan of another format is compiled again from its definition."""

PlanPart = TypeVar("PlanPart")

OpKind = Literal["step", "open", "item", "close", "part", "handle", "undo", "end"]
"""step: do an action · open: start a scope or a wait · item: one item or iteration is done (its output) ·
close: a foreach, a branch, a wait or a called workflow is done (the step's output) · part: a part of a try is done ·
handle: a part of a try failed or was the last one: what comes next · undo: compensate a step ·
end: the workflow is done (its output)."""

FINISH: dict[ScopeKind, OpKind] = {
    "workflow": "end",
    "foreach": "item",
    "until": "item",
    "branch": "close",
    "part": "part",
}
"""The op that ends a scope of each kind."""


@dataclass(frozen=True)
class Op:
    """One thing a segment does; ``path`` is a step's path: a scope step's for all but step and end (then "")."""

    kind: OpKind
    path: str


@dataclass(frozen=True)
class Segment:
    """A path of ops of one queue in which each needs only its predecessor, executed by one Celery task.

    ``needs``: step paths of the same scope whose records decide whether the first op may start.
    ``quorum``: None = all needs terminal; n = n of them succeeded is enough (join any_success, {n: …}).
    ``follows``: ids of the segments that need this one's last op, in the same scope.
    """

    id: int
    scope: str
    queue: str
    ops: tuple[Op, ...]
    needs: tuple[str, ...]
    quorum: int | None
    follows: tuple[int, ...]


@dataclass(frozen=True)
class StepPlan:
    """What the runner must know of a step: the definition's own words, and ``refs``.

    ``refs``: the paths of the steps whose outputs the step's expressions read.
    ``spec``: the step's own fields (type, with, when, join, retry, timeout, on_error, connection, output, cases),
    JSON-ready, without its children.
    ``undo``: the segment that compensates it; ``undo_refs``: what that one reads.
    ``rest``: the steps that are cancelled when this one begins, as far as they are not over.
    """

    path: str
    scope: str
    spec: dict[str, Any]
    needs: tuple[str, ...]
    refs: tuple[str, ...]
    pure: bool
    undo: int | None = None
    undo_refs: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """One DAG of steps.

    ``entries``: segments without needs. ``finish``: the segment that ends it (item, close or end).
    ``single``: the id of the one segment that is the whole body (foreach only): its items run in index ranges.
    ``output``: the scope's output expression, or None for its last step's output (``last``: that step's path).
    ``condition``: what ends an until.
    """

    path: str
    kind: ScopeKind
    step: str
    parent: str | None
    depth: int
    steps: tuple[str, ...]
    entries: tuple[int, ...]
    finish: int
    single: int | None
    output: Any
    last: str
    refs: tuple[str, ...]
    condition: Any = None


@dataclass(frozen=True)
class Plan:
    """A compiled definition.

    ``steps``, ``scopes`` and ``stages`` go by path, ``segments`` by their id. ``closers``: of each foreach, the
    segment that the runner fires when all its items are done; of a wait, when it is over; of a try, when one of its
    parts failed, or its last one is done; of a call, the one that the called run's end makes ready. ``stages``: of each
    scope, what can be published at once, as chains and groups of segment ids; what joins the stages are gates.
    """

    steps: dict[str, StepPlan]
    scopes: dict[str, Scope]
    segments: tuple[Segment, ...]
    closers: dict[str, int]
    stages: dict[str, tuple[Tree, ...]]

    @cached_property
    def followers(self) -> dict[str, tuple[int, ...]]:
        """The segments that need each step: for a foreach or a switch too, whoever writes its record."""
        found: dict[str, list[int]] = {path: [] for path in self.steps}
        for segment in self.segments:
            for need in segment.needs:
                found[need].append(segment.id)
        return {path: tuple(ids) for path, ids in found.items()}

    @cached_property
    def places(self) -> dict[int, Place]:
        """Where each segment stands in its stage; closing segments stand in none."""
        return {number: place for stages in self.stages.values() for number, place in find_places(stages).items()}

    @cached_property
    def dispensable(self) -> frozenset[str]:
        """The steps that are cancelled when a join does not need them any more."""
        return frozenset(path for step in self.steps.values() for path in step.rest)

    @cached_property
    def calls(self) -> tuple[str, ...]:
        """The names of the workflows that it calls."""
        called = (step.spec["with"]["workflow"] for step in self.steps.values() if step.spec["type"] == "workflow")
        return tuple(dict.fromkeys(called))

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON: lists where order counts (jsonb keeps none in objects), empty fields left out."""
        return {
            "format": FORMAT,
            "segments": [_to_record(segment) for segment in self.segments],
            "scopes": [_to_record(scope) for scope in self.scopes.values()],
            "stages": {path: [_to_lists(tree) for tree in stages] for path, stages in self.stages.items()},
            "closers": dict(self.closers),
            "steps": [_to_record(step) for step in self.steps.values()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan that ``to_json`` gave; raises ValueError for another format."""
        if data.get("format") != FORMAT:
            raise ValueError(f"the plan has format {data.get('format')!r}; this version of NexusFlow reads {FORMAT}")
        scopes = [_from_record(Scope, record) for record in data["scopes"]]
        return cls(
            steps={record["path"]: _from_record(StepPlan, record) for record in data["steps"]},
            scopes={scope.path: scope for scope in scopes},
            segments=tuple(_from_record(Segment, record) for record in data["segments"]),
            closers=dict(data["closers"]),
            stages={scope.path: tuple(_from_lists(tree) for tree in data["stages"][scope.path]) for scope in scopes},
        )


def _to_record(part: Any) -> dict[str, Any]:
    record = {each.name: getattr(part, each.name) for each in fields(part)}
    if isinstance(part, Segment):
        record["ops"] = [[op.kind, op.path] for op in part.ops]
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in record.items()
        if value is not None and value != ()
    }


def _from_record(kind: type[PlanPart], record: Mapping[str, Any]) -> PlanPart:
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]  # every PlanPart is a dataclass
        value = record.get(each.name)
        values[each.name] = tuple(value or ()) if get_origin(each.type) is tuple else value
    if "ops" in values:
        values["ops"] = tuple(Op(*op) for op in values["ops"])
    return kind(**values)


def _to_lists(tree: Tree) -> Any:
    return tree if isinstance(tree, int) else [tree[0], *map(_to_lists, tree[1])]


def _from_lists(tree: Any) -> Tree:
    return tree if isinstance(tree, int) else (tree[0], tuple(map(_from_lists, tree[1:])))


def compile_plan(definition: Definition, catalogue: Mapping[str, ActionInfo]) -> Plan:
    """The plan of a definition that has passed the checks; ``catalogue``: the actions by name."""
    return _Compiler(scope_graphs(definition), catalogue, definition.on_error).plan()


class _Compiler:
    """Numbers the segments scope by scope, outer scopes first, each scope's in topological order."""

    def __init__(self, graphs: dict[str, ScopeGraph], catalogue: Mapping[str, ActionInfo], on_error: str) -> None:
        self._graphs = graphs
        self._catalogue = catalogue
        self._on_error = on_error
        self._segments: list[Segment] = []
        self._bodies: dict[str, tuple[int, ...]] = {}
        self._finishes: dict[str, int] = {}
        self._closers: dict[str, int] = {}
        self._undos: dict[str, int] = {}

    def plan(self) -> Plan:
        for graph in self._graphs.values():
            self._add_segments(graph)
        self._link()
        return Plan(
            steps={path: self._step(graph, path) for graph in self._graphs.values() for path in graph.steps},
            scopes={graph.path: self._scope(graph) for graph in self._graphs.values()},
            segments=tuple(self._segments),
            closers=self._closers,
            stages={graph.path: self._stages(graph) for graph in self._graphs.values()},
        )

    def _queue(self, graph: ScopeGraph, path: str) -> str:
        step = graph.steps[path]
        return self._catalogue[step.type].queue if isinstance(step, ActionStep) else ANY

    def _add(self, scope: str, queue: str, ops: tuple[Op, ...], needs: tuple[str, ...], quorum: int | None) -> int:
        self._segments.append(Segment(len(self._segments), scope, queue, ops, needs, quorum, ()))
        return len(self._segments) - 1

    def _add_segments(self, graph: ScopeGraph) -> None:
        body = []
        for queue, paths in fuse(graph, lambda path: self._queue(graph, path)):
            ops = tuple(Op("step" if isinstance(graph.steps[p], ActionStep) else "open", p) for p in paths)
            body.append(self._add(graph.path, queue, ops, graph.needs[paths[0]], graph.quorum(paths[0])))
        self._bodies[graph.path] = tuple(body)
        for path, step in graph.steps.items():
            is_waited_for = isinstance(step, CallStep) and step.with_.wait
            if isinstance(step, ForeachStep | WaitStep | TryStep) or is_waited_for:
                closing = Op("handle" if isinstance(step, TryStep) else "close", path)
                self._closers[path] = self._add(graph.path, WORKFLOW, (closing,), (), None)
            if isinstance(step, ActionStep) and step.compensate is not None:
                queue = self._catalogue[step.compensate.type].queue
                undo = (Op("undo", path),)
                self._undos[path] = self._add(graph.path, WORKFLOW if queue == ANY else queue, undo, (), None)
        finish = Op(FINISH[graph.kind], graph.step)
        self._finishes[graph.path] = self._add(graph.path, WORKFLOW, (finish,), graph.last_steps, None)

    def _link(self) -> None:
        """Tell each segment who needs its last op; what follows an open or an item is decided at run time."""
        followers: dict[str, list[int]] = {}
        for segment in self._segments:
            for need in segment.needs:
                followers.setdefault(need, []).append(segment.id)
        for segment in self._segments:
            last = segment.ops[-1]
            if last.kind in ("step", "close"):
                follows = tuple(followers.get(last.path, ()))
                self._segments[segment.id] = replace(segment, follows=follows)

    def _step(self, graph: ScopeGraph, path: str) -> StepPlan:
        step = graph.steps[path]
        return StepPlan(
            path=path,
            scope=graph.path,
            spec=_spec(step) | {"on_error": step.on_error or self._on_error},
            needs=graph.needs[path],
            refs=step_reads(self._graphs, graph.path, path),
            pure=isinstance(step, ActionStep) and self._catalogue[step.type].pure,
            undo=self._undos.get(path),
            undo_refs=undo_reads(self._graphs, graph.path, path),
            rest=graph.only_for(path) if isinstance(step.join, Quorum) and step.join.rest == "cancel" else (),
        )

    def _scope(self, graph: ScopeGraph) -> Scope:
        body = self._bodies[graph.path]
        single = graph.kind == "foreach" and len(body) == 1 and self._segments[body[0]].ops[-1].kind == "step"
        return Scope(
            path=graph.path,
            kind=graph.kind,
            step=graph.step,
            parent=graph.parent,
            depth=graph.depth,
            steps=tuple(graph.steps),
            entries=tuple(number for number in body if not self._segments[number].needs),
            finish=self._finishes[graph.path],
            single=body[0] if single else None,
            output=graph.output,
            condition=graph.condition,
            last=tuple(graph.steps)[-1],
            refs=output_reads(self._graphs, graph.path),
        )

    def _stages(self, graph: ScopeGraph) -> tuple[Tree, ...]:
        """The scope's segments as stages; the end of a foreach or switch, not one segment, goes by -1, -2, …"""
        body = [self._segments[number] for number in self._bodies[graph.path]]
        numbers: dict[str, int] = {}
        needs: dict[int, list[int]] = {}
        quorums: dict[int, int] = {}
        outside: dict[int, int] = {}
        for segment in body:
            needs[segment.id] = [numbers[need] for need in segment.needs]
            if segment.quorum is not None and len(segment.needs) > 1:
                quorums[segment.id] = segment.quorum
            last = segment.ops[-1]
            numbers[last.path] = segment.id
            if last.kind == "open":
                numbers[last.path] = -1 - len(outside)
                needs[numbers[last.path]] = [segment.id]
                outside[numbers[last.path]] = segment.id
        return reduce_to_stages(needs, quorums, outside)


def _spec(step: AnyStep) -> dict[str, Any]:
    spec = step.model_dump(mode="json", by_alias=True, exclude={"id", "name", "needs", "steps"})
    several = [*spec.get("cases", ()), *spec.get("catch", ())]
    for branch in [*several, *filter(None, [spec.get("default"), spec.get("finally")])]:
        del branch["steps"]
    return spec
