"""A definition as nested scopes, each a DAG of steps: paths, edges, order, joins and names."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from nexusflow.workflows.language.definition import (
    AnyStep,
    Definition,
    ForeachStep,
    SwitchStep,
    TryStep,
    UntilStep,
)
from nexusflow.workflows.language.words import Quorum

ScopeKind = Literal["workflow", "foreach", "until", "branch", "part"]
"""foreach, until: once an item or an iteration · branch: of a switch · part: of a try (try, catch0, …, finally)."""
BODY, FINALLY = "try", "finally"
"""What the parts of a try are called, beside catch0, catch1, …"""


class GraphHasCycle(ValueError):
    """Steps of one scope that need each other in a circle (``paths``, sorted)."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__(f"these steps need each other in a circle: {', '.join(paths)}")
        self.paths = paths


@dataclass(frozen=True)
class ScopeGraph:
    """One scope: its place (see ``plan.py`` for paths) and its steps, by path, as the author ordered them.

    ``step``: the path of the step that owns the scope, "" for the workflow. ``parent``: the scope that step is in.
    ``condition``: what ends an until, read at the end of an iteration.
    """

    path: str
    kind: ScopeKind
    step: str
    parent: str | None
    depth: int
    steps: Mapping[str, AnyStep]
    output: Any
    condition: Any = None

    @cached_property
    def names(self) -> dict[str, str]:
        """Path of each step id of the scope."""
        return {step.id: path for path, step in self.steps.items()}

    @cached_property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """The paths each step needs, without repeats; raises KeyError for a name that is not in the scope."""
        return {path: tuple(self.names[name] for name in dict.fromkeys(s.needs)) for path, s in self.steps.items()}

    @cached_property
    def followers(self) -> dict[str, tuple[str, ...]]:
        """The steps that need each step."""
        found: dict[str, list[str]] = {path: [] for path in self.steps}
        for path, needs in self.needs.items():
            for need in needs:
                found[need].append(path)
        return {path: tuple(followers) for path, followers in found.items()}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Every step after its needs, else as the author ordered them; raises GraphHasCycle."""
        missing = {path: len(needs) for path, needs in self.needs.items()}
        ready = deque(path for path, count in missing.items() if count == 0)
        order: list[str] = []
        while ready:
            path = ready.popleft()
            order.append(path)
            for follower in self.followers[path]:
                missing[follower] -= 1
                if missing[follower] == 0:
                    ready.append(follower)
        if len(order) < len(self.steps):
            raise GraphHasCycle(sorted(set(self.steps) - set(order)))
        return tuple(order)

    def quorum(self, path: str) -> int | None:
        """How many needs must have succeeded for the step to start early; None = all of them are waited for."""
        join = self.steps[path].join
        if isinstance(join, Quorum):
            return join.n
        return 1 if join == "any_success" else None

    def waits_for_all(self, path: str) -> bool:
        """Whether the step being over means that all its needs are over."""
        return self.quorum(path) is None or len(self.needs[path]) < 2

    @cached_property
    def last_steps(self) -> tuple[str, ...]:
        """The steps whose ends, together, mean that the whole scope is over.

        These are those that no step needs, and those needed only by steps that may overtake them (a quorum).
        """
        return tuple(
            path for path, followers in self.followers.items() if not any(self.waits_for_all(f) for f in followers)
        )

    def only_for(self, path: str) -> tuple[str, ...]:
        """The steps that nothing but this one needs, directly or through others, in this scope."""
        found: set[str] = set()
        for step in reversed(self.order):
            followers = self.followers[step]
            if followers and all(each == path or each in found for each in followers):
                found.add(step)
        return tuple(step for step in self.order if step in found)

    def ancestors(self, path: str) -> set[str]:
        """Every step that the step needs, directly or through others, in this scope."""
        found: set[str] = set()
        left = list(self.needs[path])
        while left:
            need = left.pop()
            if need not in found:
                found.add(need)
                left.extend(self.needs[need])
        return found


def scope_graphs(definition: Definition) -> dict[str, ScopeGraph]:
    """Every scope of the definition by its path, each before the scopes inside it."""
    graphs: dict[str, ScopeGraph] = {}
    left = deque([_scope("", "workflow", "", None, 0, definition.steps, definition.output)])
    while left:
        graph = left.popleft()
        graphs[graph.path] = graph
        for path, step in graph.steps.items():
            left.extend(_inner_scopes(graph, path, step))
    return graphs


def _inner_scopes(graph: ScopeGraph, path: str, step: AnyStep) -> Iterator[ScopeGraph]:
    if isinstance(step, ForeachStep):
        yield _scope(path, "foreach", path, graph.path, graph.depth + 1, step.steps, step.output)
    elif isinstance(step, SwitchStep):
        branches = [(str(number), case.steps, case.output) for number, case in enumerate(step.cases)]
        if step.default is not None:
            branches.append(("default", step.default.steps, step.default.output))
        for name, steps, output in branches:
            yield _scope(f"{path}/{name}", "branch", path, graph.path, graph.depth, steps, output)

    elif isinstance(step, UntilStep):
        inner = _scope(path, "until", path, graph.path, graph.depth + 1, step.steps, step.output)
        yield replace(inner, condition=step.until)
    elif isinstance(step, TryStep):
        parts = [(BODY, step.steps, step.output)]
        parts += [(f"catch{number}", each.steps, each.output) for number, each in enumerate(step.catch)]
        if step.finally_ is not None:
            parts.append((FINALLY, step.finally_.steps, None))
        for name, steps, output in parts:
            yield _scope(f"{path}/{name}", "part", path, graph.path, graph.depth, steps, output)


def _scope(
    path: str, kind: ScopeKind, step: str, parent: str | None, depth: int, steps: tuple[AnyStep, ...], output: Any
) -> ScopeGraph:
    prefix = f"{path}/" if path else ""
    return ScopeGraph(path, kind, step, parent, depth, {prefix + s.id: s for s in steps}, output)
