"""Which steps run as one segment: paths of steps in which each needs only its predecessor, on one queue."""

from collections.abc import Callable

from nexusflow.queues import WORKFLOW
from nexusflow.workflows.language.definition import ActionStep
from nexusflow.workflows.planning.graph import ScopeGraph

ANY = "any"


def fuse(graph: ScopeGraph, queue_of: Callable[[str], str]) -> list[tuple[str, tuple[str, ...]]]:
    """The scope's segments, heads in topological order: each its queue and the paths of its steps.

    ``queue_of(path)`` is the queue a step wants, ``any`` where it runs wherever its neighbours run.
    No step waits for what it does not need: a step is fused only to its one need, and only as its one follower.
    """
    segments = []
    fused: set[str] = set()
    for head in graph.order:
        if head in fused:
            continue
        path, queue, run = head, queue_of(head), [head]
        while (following := _fusible(graph, path)) is not None:
            wanted = queue_of(following)
            if ANY not in (queue, wanted) and queue != wanted:
                break
            queue = wanted if queue == ANY else queue
            run.append(following)
            path = following
        fused.update(run)
        segments.append((WORKFLOW if queue == ANY else queue, tuple(run)))
    return segments


def _fusible(graph: ScopeGraph, path: str) -> str | None:
    """The step that may run in the same segment right after ``path``."""
    followers = graph.followers[path]
    # What follows a foreach or a switch needs its record, which is written by the segment that closes it.
    if len(followers) != 1 or not isinstance(graph.steps[path], ActionStep):
        return None
    (follower,) = followers
    alone = graph.needs[follower] == (path,)
    plain = graph.quorum(path) is None and graph.quorum(follower) is None
    return follower if alone and plain else None
