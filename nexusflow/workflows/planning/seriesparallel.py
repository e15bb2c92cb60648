"""Series-parallel reduction: how much of a DAG can be said with sequences and groups.

The reduction of vertex series-parallel digraphs (Valdes, Tarjan, Lawler 1982) on the graph's transitive reduction:
a node and its only follower become a chain, nodes with the same predecessors and the same followers become a group,
until nothing changes. What is left over are stages that only a gate can join. Near-linear in nodes and edges.
"""

import random
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["chain", "group"]
Tree: TypeAlias = int | tuple[Kind, tuple["Tree", ...]]
"""A node's number, or its parts in sequence (chain) or side by side (group); neither directly in its like."""
Place: TypeAlias = tuple[tuple[Tree, int], ...]
"""The way down to a node: from the stage's tree inward, each tree with which of its parts comes next."""
Needs: TypeAlias = Mapping[int, Collection[int]]

MAX_NESTING = 40
"""Trees are not nested deeper than this: what lies deeper would never fit one small message anyway."""


def heads(tree: Tree) -> list[int]:
    """The nodes of a tree that start first."""
    if isinstance(tree, int):
        return [tree]
    kind, parts = tree
    return heads(parts[0]) if kind == "chain" else [head for part in parts for head in heads(part)]


def find_places(stages: tuple[Tree, ...]) -> dict[int, Place]:
    """The place of every node in the stages."""
    places: dict[int, Place] = {}
    left: list[tuple[Tree, Place]] = [(tree, ()) for tree in stages]
    while left:
        tree, place = left.pop()
        if isinstance(tree, int):
            places[tree] = place
        else:
            left.extend((part, (*place, (tree, index))) for index, part in enumerate(tree[1]))
    return places


def reduce_to_stages(needs: Needs, quorums: Mapping[int, int], outside: Mapping[int, int]) -> tuple[Tree, ...]:
    """The stages of a DAG given as node → the nodes it needs (keys in topological order), by their smallest head.

    ``quorums``: nodes that may start before all they need is over. ``outside``: nodes that are part of no stage,
    because it is decided at run time when they are over, each with the node that leads to it.
    """
    edges = _transitive_reduction({**needs}, quorums)
    # The way from a foreach to its end is no edge of a canvas: what is behind it starts a stage of its own.
    edges.update((node, set()) for node in outside)
    return _Reduction(edges, quorums, outside.keys()).stages()


def _transitive_reduction(needs: Needs, quorums: Mapping[int, int]) -> dict[int, set[int]]:
    """The graph without the edges that follow from others; a quorum's edges always stay."""
    bit = {node: 1 << place for place, node in enumerate(needs)}
    over: dict[int, int] = {}  # what is certainly over when a node is over: nothing, for one that may overtake
    edges: dict[int, set[int]] = {}
    for node, before in needs.items():
        implied = 0
        for need in before:
            implied |= over[need]
        if node in quorums:
            over[node], edges[node] = 0, set(before)
        else:
            edges[node] = {need for need in before if not implied & bit[need]}
            for need in edges[node]:
                implied |= bit[need]
            over[node] = implied
    return edges


@dataclass
class _Node:
    """A node of the shrinking graph: a tree, as its kind and parts (a lone number has no kind).

    ``quorum`` keeps apart what does not become ready at the same moment.
    """

    parts: list["_Node | int"]
    quorum: int | None
    before: set[int]
    after: set[int] = field(default_factory=set)
    kind: Kind | None = None
    depth: int = 0
    before_hash: int = 0
    after_hash: int = 0

    def key(self) -> tuple[int, int, int | None]:
        return (self.before_hash, self.after_hash, self.quorum)

    def depth_inside(self, kind: Kind) -> int:
        return self.depth - 1 if self.kind == kind else self.depth

    def parts_inside(self, kind: Kind) -> list["_Node | int"]:
        if self.kind in (kind, None):
            return self.parts
        return [_Node(self.parts, None, set(), kind=self.kind)]


class _Reduction:
    def __init__(self, needs: Mapping[int, set[int]], quorums: Mapping[int, int], outside: Collection[int]) -> None:
        dice = random.Random(5)  # noqa: S311 - set hashes; what they find equal is compared as well
        self._token = {node: dice.getrandbits(64) for node in needs}
        self._outside = outside
        self._nodes = {number: _Node([number], quorums.get(number), before) for number, before in needs.items()}
        for number, node in self._nodes.items():
            for before in node.before:
                node.before_hash ^= self._token[before]
                self._nodes[before].after.add(number)
                self._nodes[before].after_hash ^= self._token[number]
        self._known: dict[tuple[int, int, int | None], int] = {}
        self._left = deque(self._nodes)
        self._queued = set(self._nodes)

    def stages(self) -> tuple[Tree, ...]:
        """Reduce, and give the trees that are left."""
        while self._left:
            number = self._left.popleft()
            self._queued.discard(number)
            if number not in self._nodes or number in self._outside:
                continue
            while (longer := self._merge_series(number)) is not None:
                number = longer
            self._merge_parallel(number)
        trees = [_tree(node) for number, node in self._nodes.items() if number not in self._outside]
        return tuple(sorted(trees, key=_first))

    def _merge_series(self, number: int) -> int | None:
        """Join the node with its only follower, if it is that one's only need; gives the number that is left."""
        node = self._nodes[number]
        if len(node.after) != 1:
            return None
        (other,) = node.after
        follower = self._nodes[other]
        depth = 1 + max(node.depth_inside("chain"), follower.depth_inside("chain"))
        if len(follower.before) != 1 or follower.quorum is not None or depth > MAX_NESTING:
            return None
        self._forget(number)
        self._forget(other)
        node.parts = node.parts_inside("chain")
        node.parts.extend(follower.parts_inside("chain"))
        node.kind, node.depth = "chain", depth
        # The side with fewer edges takes the other's number, so that an edge is seldom moved twice.
        if len(follower.after) <= len(node.before):
            for after in follower.after:
                self._change(after, before={other, number})
            node.after, node.after_hash = follower.after, follower.after_hash
            del self._nodes[other]
            return number
        for before in node.before:
            self._change(before, after={number, other})
        node.after, node.after_hash = follower.after, follower.after_hash
        del self._nodes[number]
        self._nodes[other] = node
        return other

    def _merge_parallel(self, number: int) -> None:
        """Join the node with one that has the same predecessors and followers, or remember it."""
        node = self._nodes[number]
        twin = self._known.setdefault(node.key(), number)
        other = self._nodes[twin]
        depth = 1 + max(node.depth_inside("group"), other.depth_inside("group"))
        if twin == number or depth > MAX_NESTING or (node.before, node.after) != (other.before, other.after):
            return
        other.parts = other.parts_inside("group")
        other.parts.extend(node.parts_inside("group"))
        other.kind, other.depth = "group", depth
        for before in node.before:
            self._change(before, after={number})
        for after in node.after:
            self._change(after, before={number})
        del self._nodes[number]
        self._queue(twin)

    def _change(self, number: int, *, before: Collection[int] = (), after: Collection[int] = ()) -> None:
        """Add or take away neighbours: each of ``before`` and ``after`` that is there goes, each that is not comes."""
        self._forget(number)
        node = self._nodes[number]
        for other in before:
            node.before ^= {other}
            node.before_hash ^= self._token[other]
        for other in after:
            node.after ^= {other}
            node.after_hash ^= self._token[other]
        self._queue(number)

    def _forget(self, number: int) -> None:
        key = self._nodes[number].key()
        if self._known.get(key) == number:
            del self._known[key]

    def _queue(self, number: int) -> None:
        if number not in self._queued:
            self._queued.add(number)
            self._left.append(number)


def _tree(part: _Node | int) -> Tree:
    if isinstance(part, int):
        return part
    trees = [_tree(inner) for inner in part.parts]
    if part.kind is None:
        return trees[0]
    return (part.kind, tuple(sorted(trees, key=_first) if part.kind == "group" else trees))


def _first(tree: Tree) -> int:
    return min(heads(tree))
