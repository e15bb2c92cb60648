"""How large the messages of a canvas get, without building them: Celery 5.7's JSON protocol 2, in bytes.

A message carries its own arguments, what follows it in its chain, and the body of the chord it is a member of.
Each number is an upper bound; the tests hold it against messages that Celery really publishes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexusflow.workflows.planning.plan import Segment

LIMIT = 4_000
"""No published message is larger: body, headers and properties together."""
RESERVE = 300
"""Kept free for what others add to the headers: a trace context, a long host name, a priority."""

_ID = "0" * 36
_MESSAGE = 900
"""Headers, properties and an empty body, with every id filled in."""
_MEMBER = 75
"""What a member of an embedded group has beside a link: its group_index and its root_id."""
_BODY = 180
"""What a chord's body has beside a link: root_id, group_id, group_index, an empty chain, a priority."""
_CHAIN = 140
_FORK = 560
"""An embedded group, and the chord around it."""


def task_name(queue: str) -> str:
    """The task that runs a segment on a queue."""
    return f"tasks.{queue}.run_segment"


@dataclass(frozen=True)
class Address:
    """Where in which run the segments of one publication are to run: all but the segment of a message's arguments."""

    tenant: str
    run: str
    item: str
    lo: int

    def arguments(self, segment: int) -> tuple[str, str, int, str, int]:
        """The arguments of ``run_segment``."""
        return (self.tenant, self.run, segment, self.item, self.lo)


def link_options(queue: str) -> dict[str, Any]:
    """The options of a segment's signature. An empty reply_to: nobody waits for a reply, and Celery's is 36 bytes."""
    return {"queue": queue, "reply_to": ""}


@dataclass(frozen=True)
class MessageSizes:
    """The bytes of the parts of messages to one address."""

    segments: tuple[Segment, ...]
    address: Address

    def room(self, segment: int) -> int:
        """What a message to a segment can carry beside itself."""
        arguments = len(json.dumps(self.address.arguments(segment)))
        # The arguments stand in the body and, as text for people, in the headers; the queue in the task's name.
        return LIMIT - RESERVE - _MESSAGE - 2 * arguments - 2 * len(self.segments[segment].queue)

    def link(self, segment: int) -> int:
        """A segment in the chain of another."""
        return len(json.dumps(self._signature(segment))) + 2

    def body(self, segment: int, joined: int) -> int:
        """A chord's body, itself carrying ``joined`` bytes of an outer chord's body."""
        return self.link(segment) + _BODY + joined

    def member(self, inside: int, links: int) -> int:
        """A member of an embedded group: its ``links`` in ``inside`` bytes."""
        return inside + _MEMBER + (_CHAIN if links > 1 else 0)

    def fork(self) -> int:
        """An embedded group or chord beside its members and its body."""
        return _FORK

    def _signature(self, segment: int) -> Mapping[str, Any]:
        queue = self.segments[segment].queue
        return {
            "task": task_name(queue),
            "args": self.address.arguments(segment),
            "kwargs": {},
            "options": {**link_options(queue), "task_id": _ID},
            "subtask_type": None,
            "immutable": True,
        }
