"""The plan for people and programs: ``nexusflow compile FILE --format text|json|mermaid|canvas``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nexusflow.workflows.messaging.canvas import signatures
from nexusflow.workflows.planning.graph import BODY, FINALLY
from nexusflow.workflows.planning.plan import Plan, Scope, Segment
from nexusflow.workflows.planning.seriesparallel import Tree, heads
from nexusflow.workflows.reports.mermaid import draw_mermaid
from nexusflow.workflows.reports.phrases import called, caught, items, part_name, part_of, repeated, wait_length

DrawingFormat = Literal["text", "json", "mermaid", "canvas"]

_UNIT = "    "
_ID = "0" * 36
"""Stands for a tenant and a run, so that the canvas drawn is as long as a real one."""


def draw(plan: Plan, form: DrawingFormat, name: str = "workflow", limits: Sequence[str] = ()) -> str:
    """The plan as an outline (text), as it is stored (json), as a picture (mermaid) or as Celery objects (canvas).

    ``limits``: what bounds its runs, one line each.
    """
    match form:
        case "text":
            return draw_text(plan, name, limits)
        case "json":
            return json.dumps(plan.to_json(), indent=2, ensure_ascii=False) + "\n"
        case "mermaid":
            return draw_mermaid(plan, name, limits)
        case "canvas":
            return draw_canvas(plan, name)


def draw_text(plan: Plan, name: str = "workflow", limits: Sequence[str] = ()) -> str:
    """An outline: scopes, their stages, the steps of each segment, its queue, and what each stage waits for."""
    lines: list[str] = []
    for scope in plan.scopes.values():
        lines += ["", _title(plan, scope, name)]
        if scope.kind == "workflow":
            lines += [f"{_UNIT}before it begins: {each}" for each in limits]
        for stage in plan.stages[scope.path]:
            first = plan.segments[heads(stage)[0]]
            lines.append(f"{_UNIT}{_start_of(plan, first)}:")
            lines += [_UNIT * 2 + line for line in _outline(plan, stage)]
        lines += [_UNIT + line for line in _ending(plan, scope)]
    return "\n".join(lines[1:]) + "\n"


def _title(plan: Plan, scope: Scope, name: str) -> str:
    if scope.kind == "workflow":
        steps = sum(segment.ops[0].kind in ("step", "open") for segment in plan.segments)
        return f"{name}: {_count(len(plan.steps), 'step')} in {_count(steps, 'segment')}"
    spec = plan.steps[scope.step].spec
    if scope.kind == "foreach":
        way = ", several items a message" if scope.single is not None else ""
        return f"{scope.path}: for each {items(spec['with'])}, at most {spec['with']['max_parallel']} at once{way}"
    if scope.kind == "until":
        return f"{scope.path}: again until {_quoted(scope.condition)}, {repeated(spec['with'])}"
    if scope.kind == "part":
        return f"{scope.path}: {_part(spec, part_of(scope.path))}"
    branch = scope.path.rpartition("/")[2]
    if branch == "default":
        return f"{scope.path}: if no case is true"
    return f"{scope.path}: if {_quoted(spec['cases'][int(branch)]['when'])}"


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _part(spec: Mapping[str, Any], part: str) -> str:
    if part == BODY:
        return "what is tried"
    if part == FINALLY:
        return "at last, in any case"
    errors = caught(spec, part)
    return f"{part_name(part)}, if that failed with {errors}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _outline(plan: Plan, tree: Tree) -> Iterator[str]:
    if isinstance(tree, int):
        segment = plan.segments[tree]
        yield f"#{segment.id:<3} {segment.queue:<13} {_steps(plan, segment)}"
        return
    kind, parts = tree
    yield kind
    for part in parts:
        yield from (_UNIT + line for line in _outline(plan, part))


def _ending(plan: Plan, scope: Scope) -> Iterator[str]:
    for path in scope.steps:
        step = plan.steps[path]
        if step.spec["type"] == "wait":
            yield f"when {_name(path)} has waited: {_name(path)} is done (#{plan.closers[path]})"
        if step.spec["type"] == "workflow" and path in plan.closers:
            its_run = f"when {_name(path)}'s run of {called(step.spec['with'])} is over"
            yield f"{its_run}: {_name(path)} is done (#{plan.closers[path]})"
        if step.undo is not None:
            undoing = f"{_name(path)} is undone by {step.spec['compensate']['type']}"
            yield f"if it succeeded and the try around it fails: {undoing} (#{step.undo})"
    finish = plan.segments[scope.finish]
    yield f"{_when(finish)}: {_steps(plan, finish)} (#{finish.id})"
    if scope.kind == "foreach":
        yield f"when all items are done: {scope.step} is done (#{plan.closers[scope.step]})"
    elif scope.kind == "until":
        yield f"when it is true: {scope.step} is done; else the next iteration"
    elif scope.kind == "part" and scope.path == f"{scope.step}/{BODY}":
        yield f"if it fails: {_ways(plan, scope.step)} (#{plan.closers[scope.step]})"
        if f"{scope.step}/{FINALLY}" in plan.scopes:
            yield "then, in any case: finally"


def _ways(plan: Plan, path: str) -> str:
    """What comes when a try's own steps fail."""
    spec = plan.steps[path].spec
    parts = [f"catch{number}" for number in range(len(spec["catch"]))]
    ways = [f"{part_name(part)} for {caught(spec, part)}" for part in parts]
    is_for_all = any(not each["errors"] or "any" in each["errors"] for each in spec["catch"])
    return "; else ".join(ways if is_for_all else [*ways, f"{path} fails"])


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _when(segment: Segment) -> str:
    names = " and ".join(_names(segment.needs))
    if segment.quorum is None:
        return f"when {names} {'is' if len(segment.needs) == 1 else 'are'} over"
    return f"when {segment.quorum} of {', '.join(_names(segment.needs))} succeeded"


def _start_of(plan: Plan, segment: Segment) -> str:
    """When a segment starts, and what ends then."""
    if not segment.needs:
        return "at the start"
    rest = plan.steps[segment.ops[0].path].rest if segment.ops[0].kind in ("step", "open") else ()
    return f"{_when(segment)} (the rest is cancelled)" if rest else _when(segment)


def _names(paths: tuple[str, ...]) -> list[str]:
    return [_name(path) for path in paths]


def _steps(plan: Plan, segment: Segment) -> str:
    op = segment.ops[-1]
    if op.kind in ("step", "open"):
        return " → ".join(f"{_name(each.path)} ({_kind(plan.steps[each.path].spec)})" for each in segment.ops)
    if op.kind == "part":
        return f"{part_name(part_of(segment.scope))} is done"
    iteration = "the iteration is done" if plan.scopes[segment.scope].kind == "until" else "the item is done"
    return {"item": iteration, "close": f"{op.path} is done", "end": "the end"}[op.kind]


def _kind(spec: Mapping[str, Any]) -> str:
    if spec["type"] == "wait":
        return f"wait {wait_length(spec['with'])}"
    return f"workflow {called(spec['with'])}" if spec["type"] == "workflow" else str(spec["type"])


def draw_canvas(plan: Plan, name: str = "workflow") -> str:
    """The Celery objects that a run publishes, in Python's words; behind each segment the steps it runs."""
    lines: list[str] = []
    for scope in plan.scopes.values():
        lines += ["", f"# {_title(plan, scope, name)}"]
        for ready in _publications(plan, scope):
            first = plan.segments[ready[0]]
            lines.append(f"# {_start_of(plan, first)}")
            for canvas in signatures(plan, ready, tenant=_ID, run=_ID):
                lines += _call(plan, canvas)
    return "\n".join(lines[1:]) + "\n"


def _publications(plan: Plan, scope: Scope) -> Iterator[list[int]]:
    """The segments that are published together, where no earlier canvas carries them."""
    left = dict.fromkeys(s.id for s in plan.segments if s.scope == scope.path and s.needs)
    ready = list(scope.entries)
    while ready:
        yield ready
        for canvas in signatures(plan, ready, tenant=_ID, run=_ID):
            for segment in _carried_by(canvas):
                left.pop(segment, None)
        first = next(iter(left), None)
        ready = [] if first is None else [n for n in left if _start(plan, n) == _start(plan, first)]


def _start(plan: Plan, number: int) -> tuple[tuple[str, ...], int | None]:
    return plan.segments[number].needs, plan.segments[number].quorum


def _inside(canvas: Any) -> list[Any]:
    inside = canvas["kwargs"]
    if canvas["subtask_type"] == "chord":
        return [{**canvas, "subtask_type": "group", "kwargs": {"tasks": inside["header"]}}, inside["body"]]
    return list(inside["tasks"])


def _carried_by(canvas: Any) -> Iterator[int]:
    if canvas["subtask_type"] is None:
        yield canvas["args"][2]
    else:
        for part in _inside(canvas):
            yield from _carried_by(part)


def _call(plan: Plan, canvas: Any, comma: str = "") -> Iterator[str]:
    if canvas["subtask_type"] is None:
        number = canvas["args"][2]
        yield f"{canvas['task']}({number}){comma}  # {_steps(plan, plan.segments[number])}"
        return
    yield f"{canvas['subtask_type']}("
    for part in _inside(canvas):
        yield from (_UNIT + line for line in _call(plan, part, ","))
    yield f"){comma}"
