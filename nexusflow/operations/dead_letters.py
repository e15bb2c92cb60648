"""Dead letters: messages that a queue gave up. Read without losing them, sent back to their queue, or dropped.

A letter is taken without being acknowledged, so it returns to its queue when the channel closes, however this process
ends. A letter goes back to its queue by a publication that the broker confirms, and is acknowledged only then: a crash
in between leaves two of it, which the claim makes harmless, never none.
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nexusflow.errors import ClusterUnusable, InvalidInput
from nexusflow.operations.broker import connection
from nexusflow.queues import QUEUE_NAMES, QUEUES

HEAD_BYTES = 120
"""How much of a body that nobody can read is shown."""
RETURN_SECONDS = 0.1
_ARGUMENTS = ("tenant", "run", "segment", "item", "lo")
_TRAIL = ("x-death", "x-first-death", "x-last-death", "x-delivery-count", "x-acquired-count")


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter: ``id`` is its task's, or a digest of its body; ``arguments`` its ids, where it can be read.

    ``reason``: why the broker moved it (rejected, delivery_limit, expired, maxlen). ``head``: base64 of the first bytes
    of a body that cannot be read.
    """

    id: str
    queue: str
    task: str
    reason: str
    died_at: datetime | None
    size: int
    arguments: dict[str, Any] | None
    head: str


@dataclass(frozen=True)
class Letters:
    """What was found, newest last; ``more`` that were not read, and whether the broker has dead letters at all."""

    letters: list[DeadLetter]
    more: int
    has_dead_letters: bool = True


def queue_named(name: str) -> str:
    """The queue that a name means: its own, or its dead letters'. Raises InvalidInput."""
    plain = name.removesuffix(".dead")
    if plain not in QUEUE_NAMES:
        raise InvalidInput(f"There is no queue '{name}'.", f"The queues are {', '.join(QUEUE_NAMES)}.")
    return plain


def read_letters(queue: str, ids: frozenset[str] = frozenset(), limit: int = 100) -> Letters:
    """The queue's dead letters, all or those of these ids; they stay where they are. Raises ClusterUnusable."""
    with _channel() as channel:
        if channel is None:
            return Letters([], 0, has_dead_letters=False)
        found: list[DeadLetter] = []
        more = 0
        for letter, message in _each(channel, queue):
            if not ids or letter.id in ids:
                found.append(letter)
                more = int(message.delivery_info.get("message_count") or 0)
            if len(found) >= limit:
                break
        return Letters(found, 0 if ids else more)


def redrive(queue: str, ids: frozenset[str]) -> Letters:
    """Send letters back to their queue (all of them where no ids are given); gives those that were sent.

    Raises ClusterUnusable: what was not sent by then is where it was.
    """
    return _settle(queue, ids, send=True)


def drop(queue: str, ids: frozenset[str]) -> Letters:
    """Remove letters for good (all of them where no ids are given); gives those that were removed."""
    return _settle(queue, ids, send=False)


def _settle(queue: str, ids: frozenset[str], *, send: bool) -> Letters:
    with _channel() as channel:
        if channel is None:
            return Letters([], 0, has_dead_letters=False)
        settled: list[DeadLetter] = []
        sent: set[tuple[str, bytes]] = set()
        for letter, message in _each(channel, queue):
            own = (letter.id, _raw(message))
            # What was sent and is here again died again meanwhile: it is not sent round and round.
            if (ids and letter.id not in ids) or own in sent:
                continue
            if send:
                _publish(channel, queue, message)
                sent.add(own)
            channel.basic_ack(message.delivery_tag)
            settled.append(letter)
        return Letters(settled, 0)


@contextmanager
def _channel() -> Iterator[Any]:
    """A channel whose publications are confirmed; None where the broker keeps no dead letters."""
    opened: Any = None
    try:
        opened = connection(confirm_publish=True)
        yield opened.channel() if opened.transport.driver_type == "amqp" else None
    except ClusterUnusable:
        raise
    except Exception as error:
        if opened is not None and not isinstance(error, opened.connection_errors + opened.channel_errors):
            raise
        said = str(error).strip() or type(error).__name__
        raise ClusterUnusable(
            f"The broker did not do it: {said.splitlines()[0][:200]}.",
            "What was not acknowledged is where it was. Look at the broker, then do it again.",
        ) from error
    finally:
        if opened is not None:
            opened.release()


def _each(channel: Any, queue: str) -> Iterator[tuple[DeadLetter, Any]]:
    """The letters that are there, each held until it is acknowledged or the channel closes."""
    dead = next(spec.dead for spec in QUEUES if spec.name == queue)
    if not _exists(channel, dead):
        return
    patience = 2
    while patience:
        message = channel.basic_get(dead)
        if message is None:
            # What another channel held and let go a moment ago may still be on its way back.
            patience -= 1
            time.sleep(RETURN_SECONDS)
        else:
            yield _letter(queue, message), message


def _exists(channel: Any, queue: str) -> bool:
    """Whether somebody has made this queue: the first worker does."""
    probe = channel.connection.channel()
    try:
        probe.queue_declare(queue, passive=True)
    except channel.connection.channel_errors as error:
        if getattr(error, "reply_code", None) == 404:
            return False
        raise
    else:
        return True
    finally:
        if probe.is_open:
            probe.close()


def _raw(message: Any) -> bytes:
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def _letter(queue: str, message: Any) -> DeadLetter:
    raw = _raw(message)
    headers = message.properties.get("application_headers") or {}
    name, given = headers.get("task"), headers.get("id")
    deaths = headers.get("x-death") or [{}]
    when = deaths[0].get("time")
    arguments = _arguments(raw)
    return DeadLetter(
        id=given if isinstance(given, str) and given else hashlib.sha256(raw).hexdigest()[:16],
        queue=queue,
        task=name if isinstance(name, str) else "",
        reason=str(headers.get("x-first-death-reason") or deaths[0].get("reason") or ""),
        died_at=when.replace(tzinfo=UTC) if isinstance(when, datetime) else None,
        size=len(raw),
        arguments=arguments,
        head="" if arguments is not None else base64.b64encode(raw[:HEAD_BYTES]).decode(),
    )


def _arguments(raw: bytes) -> dict[str, Any] | None:
    """The ids that a message of ours carries, by their names; None for any other body."""
    try:
        given = json.loads(raw)[0]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if not isinstance(given, list) or not all(isinstance(each, str | int) for each in given):
        return None
    return dict(zip(_ARGUMENTS, given, strict=False))


def _publish(channel: Any, queue: str, message: Any) -> None:
    """The message as it was, without the trail of its death; confirmed by the broker, or an error."""
    from amqp import Message  # type: ignore[import-untyped]  # noqa: PLC0415 - only RabbitMQ needs it

    properties = dict(message.properties)
    headers = properties.pop("application_headers", None) or {}
    kept = {name: value for name, value in headers.items() if not name.startswith(_TRAIL)}
    again = Message(_raw(message), **{**properties, "application_headers": kept, "delivery_mode": 2})
    channel.basic_publish(again, exchange=queue, routing_key=queue, mandatory=True)
