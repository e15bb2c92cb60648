"""What one publication says: as much of a stage as fits small messages.

A **flow** is a sequence of segments; a **fork** in it is a group of flows, with a segment that joins them (a chord)
or without. A fork ends a flow: behind it the runner publishes again. A chord's body is one segment and no more,
because every member of the chord carries a copy of it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nexusflow.workflows.planning.messages import MessageSizes
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.planning.seriesparallel import Tree, heads

MAX_LINKS = 16


@dataclass(frozen=True)
class Fork:
    """Flows side by side; ``body``: the segment that needs exactly the ends of them all, or None."""

    members: tuple["Flow", ...]
    body: int | None


Flow: TypeAlias = tuple[int | Fork, ...]


def find_flows(plan: Plan, ready: Sequence[int], sizes: MessageSizes) -> list[Flow]:
    """The flows that start with the ready segments, each of which is in exactly one of them, as a first one.

    Ready segments that together start a group of a stage come as one flow.
    """
    builder = _Builder(sizes)
    left = dict.fromkeys(ready)
    split: set[int] = set()
    flows = []
    for number in ready:
        if number in left:
            parts, starts = _longest(plan, number, left.keys(), split)
            for start in starts:
                del left[start]
            flows.append(builder.build(parts, 0)[0])
    return flows


def _parts(tree: Tree) -> tuple[Tree, ...]:
    return tree[1] if isinstance(tree, tuple) and tree[0] == "chain" else (tree,)


def _longest(plan: Plan, number: int, ready: Collection[int], split: set[int]) -> tuple[tuple[Tree, ...], list[int]]:
    """The largest part of a stage that starts with ``number`` and else only ready ones, and all that start it.

    ``split``: groups (by ``id``) known to have members that are not ready.
    """
    tree: Tree = number
    starts = [number]
    for container, index in reversed(plan.places.get(number, ())):
        if isinstance(container, int):
            break
        if container[0] == "chain" and index > 0:
            return container[1][index:], starts
        if container[0] == "group":
            if id(container) in split:
                break
            starts_of_all = heads(container)
            if len(starts_of_all) > len(ready) or not all(start in ready for start in starts_of_all):
                split.add(id(container))
                break
            starts = starts_of_all
        tree = container
    return _parts(tree), starts


class _Builder:
    """Builds flows; ``joined`` is always the size of the chord body that the end of a flow has to carry (0: none)."""

    def __init__(self, sizes: MessageSizes) -> None:
        self._sizes = sizes

    def build(self, parts: Sequence[Tree], joined: int) -> tuple[Flow, bool]:
        """As much of the sequence as fits, and whether that is all of it and its end can carry ``joined``."""
        first, rest = parts[0], parts[1:]
        if isinstance(first, int):
            return self._after_segment(first, rest, joined)
        body, onward, last = _behind(rest, joined)
        carries = onward if body is None else self._sizes.body(body, onward)
        built = [self.build(_parts(member), carries) for member in first[1]]
        whole = all(complete for _, complete in built)
        # A member that is cut is not the last of its branch and may not carry the body: then a gate joins them.
        fork = Fork(tuple(flow for flow, _ in built), body if whole else None)
        return (fork,), whole and last

    def _after_segment(self, first: int, rest: Sequence[Tree], joined: int) -> tuple[Flow, bool]:
        room = self._sizes.room(first)
        flow: list[int | Fork] = [first]
        for index, part in enumerate(rest):
            if not isinstance(part, int):
                body, onward, last = _behind(rest[index + 1 :], joined)
                fork, _ = self._embed(part, body, onward, room)
                return ((*flow, fork), last) if fork is not None else (tuple(flow), False)
            room -= self._sizes.link(part)
            if room < 0 or len(flow) == MAX_LINKS:
                return tuple(flow), False
            flow.append(part)
        return tuple(flow), joined <= room

    def _embed(self, group: Tree, body: int | None, joined: int, room: int) -> tuple[Fork | None, int]:
        """The whole group as it stands in a message with so much room, and its size; None if it does not fit.

        Its members' own messages are smaller than this one: each carries only its own part of the fork.
        """
        assert isinstance(group, tuple)  # noqa: S101 - a chain's parts are segments and groups
        size = self._sizes.fork()
        carries = joined if body is None else self._sizes.body(body, joined)
        size += carries
        members = []
        for member in group[1]:
            flow, inside = self._embed_flow(_parts(member), carries, room - size)
            if flow is None:
                return None, 0
            size += self._sizes.member(inside, len(flow)) + (joined if body is None else 0)
            members.append(flow)
        return (Fork(tuple(members), body), size) if size <= room else (None, 0)

    def _embed_flow(self, parts: Sequence[Tree], joined: int, room: int) -> tuple[Flow | None, int]:
        """The whole sequence as it stands in a message with so much room, and its size; None if it does not fit."""
        flow: list[int | Fork] = []
        size = 0
        for index, part in enumerate(parts):
            if isinstance(part, int):
                size += self._sizes.link(part)
                flow.append(part)
            else:
                body, onward, last = _behind(parts[index + 1 :], joined)
                fork, inside = self._embed(part, body, onward, room - size) if last else (None, 0)
                if fork is None:
                    return None, 0
                size += inside
                flow.append(fork)
                break
            if size > room:
                return None, 0
        return tuple(flow), size


def _behind(rest: Sequence[Tree], joined: int) -> tuple[int | None, int, bool]:
    """Of what comes after a group: the segment that joins it, what that one has to carry, and whether it is the end."""
    body = rest[0] if rest and isinstance(rest[0], int) else None
    last = len(rest) == (0 if body is None else 1)
    return body, joined if last else 0, last
