"""Where a plan's steps stand in a picture: layers from top to bottom, scopes as frames around their steps.

Pure geometry, in pixels at a scale of 1; what a step's state is does not move it. The method is the usual one of
layered drawing (Sugiyama, Tagawa, Toda 1981): longest-path layers, placeholders where an edge passes a layer,
orders by the average place of the neighbours, then columns that follow the neighbours as far as room allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from nexusflow.workflows.planning.plan import Plan, Scope
from nexusflow.workflows.reports.phrases import branch_name, part_of, part_title, shortened

MAX_STEPS = 400
"""A larger plan is no picture any more; it is shown as a list."""

BOX_HEIGHT, TITLE, PAD, GAP, LANE = 46.0, 34.0, 16.0, 22.0, 14.0
LAYER_GAP = 34.0
LETTER, SMALL_LETTER, LETTERS = 8.2, 6.7, 30
ROOM = 10
"""Letters left behind a step's type, for how long it took or how many items are done."""
WAITING = {"wait": 20, "until": 28, "workflow": 20}
"""The same where it also says how long it still waits."""
FRAMES = ("branch", "part")
"""Kinds of boxes that are no steps: they frame a branch of a switch or a part of a try."""
FRAME_LETTERS = 36
LEAST, SWEEPS = 168.0, 6
EMPTY = (120.0, 30.0)


@dataclass(frozen=True)
class Box:
    """A step (``step``, or the type of one that holds others) or one of FRAMES; its left upper corner and its size."""

    path: str
    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Edge:
    """From a need's foot to a follower's head, through the points between."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """A plan's boxes, outer ones first, and edges."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


@dataclass
class _Node:
    """A step in its layer, or (without a path) the place where an edge passes."""

    width: float
    height: float
    path: str = ""
    x: float = 0.0
    above: list["_Node"] = field(default_factory=list)
    below: list["_Node"] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def lay_out(plan: Plan) -> Picture | None:
    """The picture of a plan; None for one of more than MAX_STEPS steps."""
    if len(plan.steps) > MAX_STEPS:
        return None
    return _Layout(plan).scope(plan.scopes[""])


class _Layout:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inner: dict[str, list[Scope]] = {}
        for scope in plan.scopes.values():
            if scope.step:
                self._inner.setdefault(scope.step, []).append(scope)

    def scope(self, scope: Scope) -> Picture:
        """One scope's picture, its corner at 0, 0."""
        parts = {path: self._step(path) for path in scope.steps}
        layers, chains = self._layers(scope, parts)
        _order(layers)
        _place(layers)
        boxes: list[Box] = []
        feet: dict[str, list[tuple[float, float]]] = {}
        heads: dict[str, tuple[float, float]] = {}
        passes: dict[int, tuple[float, float, float]] = {}
        y = 0.0
        for layer in layers:
            height = max(node.height for node in layer)
            for node in layer:
                if not node.path:
                    passes[id(node)] = (node.middle, y, y + height)
                    continue
                heads[node.path] = (node.middle, y)
                # Straight down first, along taller neighbours.
                feet[node.path] = [(node.middle, y + node.height), (node.middle, y + height)]
                boxes += [replace(box, x=box.x + node.x, y=box.y + y) for box in parts[node.path].boxes]
            y += height + LAYER_GAP
        edges = [
            Edge(source, target, (*feet[source], *_through([passes[id(each)] for each in between]), heads[target]))
            for source, target, between in chains
        ]
        tops = {node.path: (node.x, heads[node.path][1]) for layer in layers for node in layer if node.path}
        edges += [_moved(edge, *tops[path]) for path, part in parts.items() for edge in part.edges]
        width = max((node.x + node.width for layer in layers for node in layer), default=EMPTY[0])
        return Picture(width, max(y - LAYER_GAP, EMPTY[1]), tuple(boxes), tuple(edges))

    def _step(self, path: str) -> Picture:
        """A step's box; that of one which holds others goes around them."""
        title = path.rpartition("/")[2]
        kind = self._plan.steps[path].spec["type"]
        inner = self._inner.get(path, [])
        name = min(len(title), LETTERS) * LETTER
        line = (min(len(kind), LETTERS) + WAITING.get(kind, ROOM)) * SMALL_LETTER
        # One below the other in a step's own box, side by side at the head of one that holds others.
        width = max(LEAST, (name + line if inner else max(name, line)) + 54)
        if not inner:
            return Picture(width, BOX_HEIGHT, (Box(path, "step", title, 0, 0, width, BOX_HEIGHT),), ())
        rows = _rows([(scope, self._frame(scope)) for scope in inner])
        width = max(width, *(_wide(row) + 2 * PAD for row in rows))
        boxes, edges = [], []
        y = TITLE + PAD / 2
        for row in rows:
            x = (width - _wide(row)) / 2
            for frame in row:
                boxes += [replace(box, x=box.x + x, y=box.y + y) for box in frame.boxes]
                edges += [_moved(edge, x, y) for edge in frame.edges]
                x += frame.width + GAP
            y += max(frame.height for frame in row) + GAP
        height = y - GAP + PAD
        around = Box(path, kind, title, 0, 0, width, height)
        return Picture(width, height, (around, *boxes), tuple(edges))

    def _frame(self, scope: Scope) -> Picture:
        """What is inside a loop as it is; a branch or a part in a frame of its own, with its name."""
        inside = self.scope(scope)
        if scope.kind not in FRAMES:
            return inside
        spec = self._plan.steps[scope.step].spec
        title = branch_name(scope.path) if scope.kind == "branch" else part_title(spec, part_of(scope.path))
        title = shortened(title, FRAME_LETTERS)
        top = TITLE - 6
        width = max(inside.width + 2 * PAD, len(title) * SMALL_LETTER + 24)
        left = (width - inside.width) / 2
        height = inside.height + top + PAD
        boxes = (
            Box(scope.path, scope.kind, title, 0, 0, width, height),
            *(replace(box, x=box.x + left, y=box.y + top) for box in inside.boxes),
        )
        return Picture(width, height, boxes, tuple(_moved(edge, left, top) for edge in inside.edges))

    def _layers(
        self, scope: Scope, parts: dict[str, Picture]
    ) -> tuple[list[list[_Node]], list[tuple[str, str, list[_Node]]]]:
        """The nodes by layer, and each edge with the places where it passes a layer."""
        level: dict[str, int] = {}
        for path in _sorted(self._plan, scope):
            level[path] = 1 + max((level[need] for need in self._plan.steps[path].needs), default=-1)
        nodes = {path: _Node(part.width, part.height, path) for path, part in parts.items()}
        layers: list[list[_Node]] = [[] for _ in range(max(level.values(), default=0) + 1)]
        for path, node in nodes.items():
            layers[level[path]].append(node)
        chains = []
        for path in scope.steps:
            for need in self._plan.steps[path].needs:
                between = [_Node(LANE, 0.0) for _ in range(level[need] + 1, level[path])]
                chain = [nodes[need], *between, nodes[path]]
                for upper, lower in pairwise(chain):
                    upper.below.append(lower)
                    lower.above.append(upper)
                for number, node in enumerate(between, level[need] + 1):
                    layers[number].append(node)
                chains.append((need, path, between))
        return layers, chains


def _rows(frames: Sequence[tuple[Scope, Picture]]) -> list[list[Picture]]:
    """Frames side by side; the parts of a try one below the other as they follow each other, its catches in one row."""
    rows: dict[str, list[Picture]] = {}
    for scope, frame in frames:
        part = part_of(scope.path) if scope.kind == "part" else ""
        rows.setdefault("catch" if part.startswith("catch") else part, []).append(frame)
    return list(rows.values())


def _wide(row: Sequence[Picture]) -> float:
    return sum(frame.width for frame in row) + GAP * (len(row) - 1)


def _sorted(plan: Plan, scope: Scope) -> list[str]:
    """The scope's steps, each after its needs."""
    left = {path: len(plan.steps[path].needs) for path in scope.steps}
    followers: dict[str, list[str]] = {path: [] for path in scope.steps}
    for path in scope.steps:
        for need in plan.steps[path].needs:
            followers[need].append(path)
    order = [path for path, count in left.items() if count == 0]
    for path in order:
        for follower in followers[path]:
            left[follower] -= 1
            if left[follower] == 0:
                order.append(follower)
    return order


def _order(layers: list[list[_Node]]) -> None:
    """Sort each layer by its neighbours' average place, downward and upward in turn, to cross fewer edges."""
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        place: dict[int, int] = {}
        for layer in layers if downward else reversed(layers):
            wanted = {}
            for number, node in enumerate(layer):
                near = node.above if downward else node.below
                wanted[id(node)] = sum(place[id(each)] for each in near) / len(near) if near else float(number)
            layer.sort(key=lambda node, wanted=wanted: wanted[id(node)])  # type: ignore[misc]
            place |= {id(node): number for number, node in enumerate(layer)}


def _place(layers: list[list[_Node]]) -> None:
    """Give each node its column: close to its neighbours', never over the one beside it; the least is 0."""
    for layer in layers:
        _pack(layer, [0.0] * len(layer))
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        for layer in layers if downward else reversed(layers):
            wanted = []
            for node in layer:
                near = node.above if downward else node.below
                near = near or (node.below if downward else node.above)
                middle = sum(each.middle for each in near) / len(near) if near else node.middle
                wanted.append(middle - node.width / 2)
            _pack(layer, wanted)
    least = min((node.x for layer in layers for node in layer), default=0.0)
    for layer in layers:
        for node in layer:
            node.x -= least


def _pack(layer: Sequence[_Node], wanted: Sequence[float]) -> None:
    """Put nodes side by side where they want to be; those in each other's way share the difference."""
    groups: list[tuple[list[_Node], float, float]] = []  # nodes, left edge of the group, the sum of what they want
    for node, want in zip(layer, wanted, strict=True):
        nodes, total = [node], want
        left = want
        while groups and groups[-1][1] + _span(groups[-1][0]) > left:
            before, _, sum_before = groups.pop()
            total = sum_before + total - len(nodes) * _span(before)
            nodes = before + nodes
            left = total / len(nodes)
        groups.append((nodes, left, total))
    for nodes, left, _ in groups:
        x = left
        for node in nodes:
            node.x = x
            x += node.width + GAP


def _span(nodes: Sequence[_Node]) -> float:
    """How much room nodes side by side take, the gap behind them included."""
    return sum(node.width + GAP for node in nodes)


def _through(passes: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """The points of an edge that goes straight down each layer it passes."""
    return [point for x, top, bottom in passes for point in ((x, top), (x, bottom))]


def _moved(edge: Edge, x: float, y: float) -> Edge:
    return replace(edge, points=tuple((px + x, py + y) for px, py in edge.points))
