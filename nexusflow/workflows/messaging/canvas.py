"""The plan as real Celery objects: chains, groups and chords of immutable signatures that carry ids only.

The only file that imports Celery's canvas. A canvas saves publications and round trips; it decides nothing. Whatever
it does not carry, or a lost message held, the runner publishes when the rows say that it is ready.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from celery.canvas import Signature, chain, chord, group

from nexusflow.workflows.planning.flows import Flow, Fork, find_flows
from nexusflow.workflows.planning.messages import Address, MessageSizes, link_options, task_name
from nexusflow.workflows.planning.plan import Plan

_SEGMENT = 2
"""Which argument of ``run_segment`` is the segment's id."""


def signatures(
    plan: Plan, segment_ids: Sequence[int], *, tenant: str, run: str, item: str = "", lo: int = 0
) -> list[Signature]:
    """What to publish for segments that have become ready: each with as much behind it as small messages can carry.

    Ready segments that start a group of a stage come out as one group or chord. No message that Celery sends from
    them, then or at a later hop, is over 4 kB.
    """
    canvas = _Canvas(plan, Address(tenant, run, item, lo))
    return [canvas.sequence(flow) for flow in find_flows(plan, segment_ids, canvas.sizes)]


def carried(request: Any) -> set[int]:
    """The segments that Celery itself publishes when the task of this request returns.

    ``request``: a task's request, or a mapping with its ``chain`` (the next one last) and ``callbacks``.
    """
    links = list(_field(request, "callbacks") or ())
    following = _field(request, "chain")
    if following:
        links.append(following[-1])
    return {segment for link in links for segment in _starts(link)}


def chord_body(request: Any) -> int | None:
    """The segment that joins the chord this request's task is a member of, or None."""
    body = _field(request, "chord")
    return _starts(body)[0] if body else None


def _field(request: Any, name: str) -> Any:
    return request.get(name) if isinstance(request, Mapping) else getattr(request, name, None)


def _starts(link: Mapping[str, Any]) -> list[int]:
    """The segments whose messages a signature, perhaps read from JSON, sends first."""
    kind, inside = link.get("subtask_type"), link["kwargs"]
    if kind == "chain":
        return _starts(inside["tasks"][0])
    if kind == "group":
        return [segment for task in inside["tasks"] for segment in _starts(task)]
    if kind == "chord":
        header = inside["header"]
        tasks = header["kwargs"]["tasks"] if isinstance(header, Mapping) else header
        return [segment for task in tasks for segment in _starts(task)]
    return [link["args"][_SEGMENT]]


class _Canvas:
    def __init__(self, plan: Plan, address: Address) -> None:
        self.sizes = MessageSizes(plan.segments, address)
        self._segments = plan.segments
        self._address = address

    def sequence(self, flow: Flow) -> Signature:
        """One flow as a signature, a chain, a group or a chord."""
        parts = [self._fork(part) if isinstance(part, Fork) else self._link(part) for part in flow]
        return parts[0] if len(parts) == 1 else chain(*parts)

    def _fork(self, fork: Fork) -> Signature:
        members = [self.sequence(member) for member in fork.members]
        return group(members) if fork.body is None else chord(members, self._link(fork.body))

    def _link(self, segment: int) -> Signature:
        queue = self._segments[segment].queue
        return Signature(
            task_name(queue), args=self._address.arguments(segment), immutable=True, options=link_options(queue)
        )
