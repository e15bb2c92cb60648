"""The plan as a Mermaid flowchart: a frame per scope, a box per segment, a colour per queue.

Solid arrows are what Celery carries in its own messages, dotted ones what the runner publishes when the rows say so.
A hexagon is a gate: a join that no chord can say.
"""

from collections.abc import Iterator
from itertools import count, pairwise

from nexusflow.workflows.plan import Plan, Scope, Segment
from nexusflow.workflows.seriesparallel import Tree, heads

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


def draw_mermaid(plan: Plan, name: str = "workflow") -> str:
    """The flowchart, as the text of a Mermaid block."""
    picture = _Picture(plan)
    body = ["flowchart TB", *picture.scope("", name, 1), *picture.edges, _CLASSES, *picture.classes()]
    return "\n".join(body) + "\n"


def _label(*lines: str) -> str:
    return '"' + "<br/>".join(line.translate(_ESCAPES) for line in lines) + '"'


class _Picture:
    """Collects the edges while the boxes are written, because Mermaid draws an edge's ends where they stand first."""

    def __init__(self, plan: Plan) -> None:
        self.edges: list[str] = []
        self._plan = plan
        self._frames: list[str] = []
        self._joints = count()
        self._box = {segment.ops[-1].path: f"s{segment.id}" for segment in plan.segments if _is_body(segment)}
        # What needs a foreach or a switch starts behind its end, not behind the segment that opens it.
        self._open = {path: box for path, box in self._box.items() if plan.steps[path].spec["type"] in _SCOPES}
        for number, path in enumerate(self._open):
            self._box[path] = f"d{number}"

    def scope(self, path: str, title: str, level: int) -> Iterator[str]:
        """A scope's frame with everything inside; its edges are kept for later."""
        plan, indent = self._plan, "    " * level
        scope = plan.scopes[path]
        frame = f"scope{len(self._frames)}"
        self._frames.append(frame)
        yield f"{indent}subgraph {frame}[{_label(title)}]"
        for segment in plan.segments:
            if segment.scope == path and _is_body(segment):
                yield f"{indent}    s{segment.id}[{self._steps(segment)}]:::{segment.queue}"
        for stage in plan.stages[path]:
            yield from (f"{indent}    {line}" for line in self._stage(stage))
        for step in scope.steps:
            if step in self._open:
                yield from self._inner(step, level + 1)
                yield f"{indent}    {self._box[step]}([{_label(f'{_name(step)} is done')}]):::done"
        if scope.kind == "workflow":
            yield f"{indent}    finish([{_label('end')}]):::done"
        yield f"{indent}end"
        self._finish(scope)

    def classes(self) -> list[str]:
        """The frames' style."""
        return [f"    class {','.join(self._frames)} scope"]

    def _steps(self, segment: Segment) -> str:
        steps = [f"{_name(op.path)} · {self._plan.steps[op.path].spec['type']}" for op in segment.ops]
        return _label(*steps, f"({segment.queue})")

    def _inner(self, step: str, level: int) -> Iterator[str]:
        """The frames of a foreach's body or a switch's branches, and the ways into them."""
        inner = [scope for scope in self._plan.scopes.values() if scope.step == step]
        for scope in inner:
            name = scope.path.rpartition("/")[2]
            if scope.kind == "foreach":
                way, title = "each item", f"{_name(step)}, once for each item"
            else:
                way = "default" if name == "default" else f"case {int(name) + 1}"
                title = f"{_name(step)}, {way}"
            yield from self.scope(scope.path, title, level)
            for entry in scope.entries:
                self._edge(self._open[step], f"s{entry}", ".", way)
        if inner[0].kind == "branch" and not inner[-1].path.endswith("/default"):
            self._edge(self._open[step], self._box[step], ".", "no case")

    def _finish(self, scope: Scope) -> None:
        target = self._box[scope.step] if scope.step else "finish"
        for need in self._plan.segments[scope.finish].needs:
            self._edge(self._box[need], target, ".")

    def _stage(self, stage: Tree) -> Iterator[str]:
        """The gate before a stage and the joints inside it; their edges are kept."""
        starts = heads(stage)
        first = self._plan.segments[starts[0]]
        source = None
        if len(first.needs) > 1:
            source = f"g{first.id}"
            wanted = "all of" if first.quorum is None else f"{first.quorum} of"
            yield f"{source}{{{{{_label(f'{wanted} {len(first.needs)}')}}}}}:::gate"
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


_SCOPES = ("foreach", "switch")


def _is_body(segment: Segment) -> bool:
    return segment.ops[0].kind in ("step", "open")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _ends(tree: Tree) -> list[int]:
    if isinstance(tree, int):
        return [tree]
    kind, parts = tree
    return _ends(parts[-1]) if kind == "chain" else [end for part in parts for end in _ends(part)]
