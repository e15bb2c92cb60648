"""The plan as a Mermaid flowchart: a frame per scope, a box per segment, a colour per queue.

Solid arrows are what Celery carries in its own messages, dotted ones what the runner publishes when the rows say so.
A hexagon is a gate: a join that no chord can say. A rhombus is the condition of an until. From the frame of what is
tried a way leads to each catch, because any of its steps may be the one that fails.
"""

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

from nexusflow.workflows.language.definition import CONTROL_TYPES
from nexusflow.workflows.planning.graph import BODY, FINALLY
from nexusflow.workflows.planning.plan import Plan, Scope, Segment, StepPlan
from nexusflow.workflows.planning.seriesparallel import Tree, heads
from nexusflow.workflows.reports.phrases import (
    branch_name,
    called,
    caught,
    formula,
    items,
    part_of,
    part_title,
    wait_length,
    written_duration,
)

_CLASSES = """\
    classDef workflow fill:#dbeafe,stroke:#2563eb,color:#172554
    classDef integration fill:#dcfce7,stroke:#16a34a,color:#052e16
    classDef notification fill:#fef3c7,stroke:#d97706,color:#451a03
    classDef gate fill:#f3e8ff,stroke:#9333ea,color:#3b0764
    classDef done fill:#f1f5f9,stroke:#64748b,color:#0f172a
    classDef scope fill:none,stroke:#94a3b8,stroke-dasharray:5 4"""

_ESCAPES = str.maketrans(
    {"#": "#35;", '"': "#quot;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\n": " ", "\r": " "}
)


def draw_mermaid(plan: Plan, name: str = "workflow", limits: Sequence[str] = ()) -> str:
    """The flowchart, as the text of a Mermaid block. ``limits``: what bounds its runs, drawn before the first steps."""
    picture = _Picture(plan)
    body = ["flowchart TB", *picture.turn(limits), *picture.scope("", name, 1), *picture.edges, _CLASSES]
    body += picture.classes()
    return "\n".join(body) + "\n"


def _label(*lines: str) -> str:
    return '"' + "<br/>".join(line.translate(_ESCAPES) for line in lines) + '"'


class _Picture:
    """Collects the edges while the boxes are written, because Mermaid draws an edge's ends where they stand first."""

    def __init__(self, plan: Plan) -> None:
        self.edges: list[str] = []
        self._plan = plan
        self._frames: dict[str, str] = {}
        self._joints = count()
        self._box = {segment.ops[-1].path: f"s{segment.id}" for segment in plan.segments if _is_body(segment)}
        # What needs a scope's step or a wait starts behind its end, not behind the segment that opens it.
        self._open = {path: box for path, box in self._box.items() if plan.steps[path].spec["type"] in CONTROL_TYPES}
        for number, path in enumerate(self._open):
            self._box[path] = f"d{number}"

    def turn(self, limits: Sequence[str]) -> Iterator[str]:
        """What a run waits for before its first steps."""
        if limits:
            yield f"    turn{{{{{_label(*limits)}}}}}:::gate"
            for entry in self._plan.scopes[""].entries:
                self._edge("turn", f"s{entry}", ".")

    def scope(self, path: str, title: str, level: int) -> Iterator[str]:
        """A scope's frame with everything inside; its edges are kept for later."""
        plan, indent = self._plan, "    " * level
        scope = plan.scopes[path]
        frame = f"scope{len(self._frames)}"
        self._frames[path] = frame
        yield f"{indent}subgraph {frame}[{_label(title)}]"
        for segment in plan.segments:
            if segment.scope == path and _is_body(segment):
                yield f"{indent}    s{segment.id}[{self._steps(segment)}]:::{segment.queue}"
        for stage in plan.stages[path]:
            yield from (f"{indent}    {line}" for line in self._stage(stage))
        for step in scope.steps:
            if step in self._open:
                yield from self._inside_of(plan.steps[step], level + 1)
                yield f"{indent}    {self._box[step]}([{_label(f'{_name(step)} is done')}]):::done"
        if scope.kind == "until":
            yield f"{indent}    {frame}again{{{_label(f'until {formula(scope.condition)}')}}}:::gate"
            if len(scope.entries) > 1:
                yield f"{indent}    {frame}next(( )):::gate"
        if scope.kind == "workflow":
            yield f"{indent}    finish([{_label('end')}]):::done"
        yield f"{indent}end"
        self._finish(scope)

    def classes(self) -> list[str]:
        """The frames' style."""
        return [f"    class {','.join(self._frames.values())} scope"]

    def _steps(self, segment: Segment) -> str:
        lines = []
        for op in segment.ops:
            spec = self._plan.steps[op.path].spec
            lines.append(f"{_name(op.path)} · {spec['type']}")
            if spec.get("compensate"):
                lines.append(f"(undone by {spec['compensate']['type']})")
        return _label(*lines, f"({segment.queue})")

    def _inside_of(self, step: StepPlan, level: int) -> Iterator[str]:
        """The frames of what a step holds, and the ways into them."""
        path, kind = step.path, step.spec["type"]
        if kind == "wait":
            given = step.spec["with"]
            after = "after " if given["duration"] is not None else ""
            self._edge(self._open[path], self._box[path], ".", f"{after}{wait_length(given)}")
            return
        if kind == "workflow":
            verb = "calls" if path in self._plan.closers else "starts"
            self._edge(self._open[path], self._box[path], ".", f"{verb} {called(step.spec['with'])}")
            return
        inner = [scope for scope in self._plan.scopes.values() if scope.step == path]
        for scope in inner:
            way, title = self._way(step, scope)
            yield from self.scope(scope.path, title, level)
            if way is not None:
                for entry in self._entries(scope):
                    self._edge(self._open[path], entry, ".", way)
        if kind == "switch" and not inner[-1].path.endswith("/default"):
            self._edge(self._open[path], self._box[path], ".", "no case")
        if kind == "try":
            self._try(step, [part_of(scope.path) for scope in inner])

    def _entries(self, scope: Scope) -> list[str]:
        """Where a scope begins; an until with several first steps at the point that each iteration comes back to."""
        if scope.kind != "until" or len(scope.entries) == 1:
            return [f"s{entry}" for entry in scope.entries]
        point = f"{self._frames[scope.path]}next"
        for entry in scope.entries:
            self._edge(point, f"s{entry}", ".")
        return [point]

    def _way(self, step: StepPlan, scope: Scope) -> tuple[str | None, str]:
        """What is written at the way into a scope (None: it is not entered at once), and the scope's title."""
        name = _name(step.path)
        if scope.kind == "foreach":
            each = items(step.spec["with"])
            return f"each {each}", f"{name}, once for each {each}"
        if scope.kind == "until":
            return "iteration 1", f"{name}, at most {step.spec['with']['max_iterations']:,} iterations"
        if scope.kind == "part":
            part = part_of(scope.path)
            return "" if part == BODY else None, f"{name}, {part_title(step.spec, part)}"
        return branch_name(scope.path), f"{name}, {branch_name(scope.path)}"

    def _try(self, step: StepPlan, parts: list[str]) -> None:
        """The ways between a try's parts: from the steps that fail to the catches, from all to what is last."""
        for part in parts:
            entries = self._plan.scopes[f"{step.path}/{part}"].entries
            if part == FINALLY:
                catches = len(parts) > 2
                before = [(each, "else" if each == BODY and catches else "in any case") for each in parts[:-1]]
            else:
                before = [(BODY, caught(step.spec, part))] if part != BODY else []
            for source, text in before:
                for entry in entries:
                    self._edge(self._frames[f"{step.path}/{source}"], f"s{entry}", ".", text)

    def _finish(self, scope: Scope) -> None:
        target = self._box[scope.step] if scope.step else "finish"
        last = f"{scope.step}/{FINALLY}"
        if scope.kind == "part" and scope.path != last and last in self._plan.scopes:
            return
        again = f"{self._frames[scope.path]}again"
        for need in self._plan.segments[scope.finish].needs:
            self._edge(self._box[need], again if scope.kind == "until" else target, ".")
        if scope.kind == "until":
            delay = self._plan.steps[scope.step].spec["with"]["delay"]
            self._edge(again, target, ".", "true")
            first = f"s{scope.entries[0]}" if len(scope.entries) == 1 else f"{self._frames[scope.path]}next"
            self._edge(again, first, ".", f"false, after {written_duration(delay)}" if delay else "false")

    def _stage(self, stage: Tree) -> Iterator[str]:
        """The gate before a stage and the joints inside it; their edges are kept."""
        starts = heads(stage)
        first = self._plan.segments[starts[0]]
        source = None
        if len(first.needs) > 1:
            source = f"g{first.id}"
            wanted = "all of" if first.quorum is None else f"{first.quorum} of"
            rest = ["the rest is cancelled"] if self._plan.steps[first.ops[0].path].rest else []
            yield f"{source}{{{{{_label(f'{wanted} {len(first.needs)}', *rest)}}}}}:::gate"
            for need in first.needs:
                self._edge(self._box[need], source, ".")
        elif first.needs:
            source = self._box[first.needs[0]]
        if source is not None:
            for start in starts:
                self._edge(source, f"s{start}", ".")
        yield from self._inside(stage)

    def _inside(self, tree: Tree) -> Iterator[str]:
        if isinstance(tree, int):
            return
        kind, parts = tree
        for part in parts:
            yield from self._inside(part)
        for before, after in pairwise(parts) if kind == "chain" else ():
            ends, starts = _ends(before), heads(after)
            if len(ends) == 1 or len(starts) == 1:
                for end in ends:
                    for start in starts:
                        self._edge(f"s{end}", f"s{start}", "-")
                continue
            joint = f"j{next(self._joints)}"
            yield f"{joint}(( )):::gate"
            for end in ends:
                self._edge(f"s{end}", joint, ".")
            for start in starts:
                self._edge(joint, f"s{start}", ".")

    def _edge(self, source: str, target: str, line: str, text: str = "") -> None:
        arrow = "-->" if line == "-" else "-.->"
        self.edges.append(f"    {source} {arrow}{f'|{_label(text)}|' if text else ''} {target}")


def _is_body(segment: Segment) -> bool:
    return segment.ops[0].kind in ("step", "open")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _ends(tree: Tree) -> list[int]:
    if isinstance(tree, int):
        return [tree]
    kind, parts = tree
    return _ends(parts[-1]) if kind == "chain" else [end for part in parts for end in _ends(part)]
