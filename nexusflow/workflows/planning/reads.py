"""Which steps' outputs a step's or a scope's expressions read, as paths: a name means the innermost step called so."""

from collections.abc import Mapping
from typing import Any

from nexusflow.workflows.evaluation.expressions import references
from nexusflow.workflows.language.definition import ActionStep, AnyStep, CallStep, ForeachStep, SwitchStep, WaitStep
from nexusflow.workflows.planning.graph import ScopeGraph

Graphs = Mapping[str, ScopeGraph]


def step_reads(graphs: Graphs, scope: str, path: str) -> tuple[str, ...]:
    """The steps that the step's own expressions read; a ``transform`` without ``input`` reads all it can see."""
    step = graphs[scope].steps[path]
    found, everything = _named_in(graphs, scope, _own_values(step))
    if everything or (isinstance(step, ActionStep) and step.type == "transform" and "input" not in step.with_):
        found.update(visible(graphs, scope, path).values())
    return tuple(sorted(found))


def undo_reads(graphs: Graphs, scope: str, path: str) -> tuple[str, ...]:
    """The steps that the step's compensation reads."""
    step = graphs[scope].steps[path]
    if not isinstance(step, ActionStep) or step.compensate is None:
        return ()
    found, _ = _named_in(graphs, scope, step.compensate.with_)
    return tuple(sorted(found))


def output_reads(graphs: Graphs, scope: str) -> tuple[str, ...]:
    """The steps that the scope's output expression, and an until's condition, read."""
    graph = graphs[scope]
    found, everything = _named_in(graphs, scope, [graph.output, graph.condition])
    if everything:
        found.update({**_inherited(graphs, scope), **graph.names}.values())
    return tuple(sorted(found))


def visible(graphs: Graphs, scope: str, path: str) -> dict[str, str]:
    """What ``steps`` holds for a step: its ancestors here and those of every scope step around it, by id."""
    graph = graphs[scope]
    own = graph.ancestors(path)
    return {**_inherited(graphs, scope), **{name: p for name, p in graph.names.items() if p in own}}


def _inherited(graphs: Graphs, scope: str) -> dict[str, str]:
    graph = graphs[scope]
    return {} if graph.parent is None else visible(graphs, graph.parent, graph.step)


def _own_values(step: AnyStep) -> list[Any]:
    common = [step.when, step.mock and step.mock.output]
    if isinstance(step, ForeachStep):
        return [*common, step.with_.items]
    if isinstance(step, SwitchStep):
        return [*common, [case.when for case in step.cases]]
    if isinstance(step, WaitStep):
        given = step.with_
        return [*common, given.duration, given.until, given.key, given.timeout]
    if isinstance(step, CallStep):
        return [*common, step.with_.input]
    return [*common, step.with_, step.idempotency] if isinstance(step, ActionStep) else common


def _named_in(graphs: Graphs, scope: str, value: Any) -> tuple[set[str], bool]:
    """The steps that the value's expressions name, and whether one of them means ``steps`` as a whole."""
    found: set[str] = set()
    everything = False
    for reference in references(value):
        if reference.parts == ("steps",):
            everything = True
        elif reference.parts[0] == "steps" and (path := _named(graphs, scope, str(reference.parts[1]))) is not None:
            found.add(path)
    return found, everything


def _named(graphs: Graphs, scope: str | None, name: str) -> str | None:
    while scope is not None:
        graph = graphs[scope]
        if name in graph.names:
            return graph.names[name]
        scope = graph.parent
    return None
