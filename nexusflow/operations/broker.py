"""What the broker itself says: how long its queues are. Asked beside the rows, and never waited for long."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from nexusflow.errors import ClusterUnusable
from nexusflow.log import get_logger
from nexusflow.queues import QUEUES
from nexusflow.settings import get_settings

log = get_logger(__name__)
CONNECT_SECONDS = 2.0
KEPT_SECONDS = 5.0
"""How long a look at the broker serves those who ask again."""


@dataclass(frozen=True)
class Depth:
    """One queue in the broker; ``consumers`` and ``dead`` are None where the broker has no such thing (Valkey)."""

    messages: int
    consumers: int | None
    dead: int | None


@dataclass
class Look:
    """What one look at the broker found: ``depths`` by queue (those that exist), or why it did not answer."""

    depths: dict[str, Depth] = field(default_factory=dict)
    complaint: str = ""
    has_dead_letters: bool = True


def connection(**options: Any) -> Any:
    """A connection to the broker that gives up soon. Raises ClusterUnusable where none is configured, and what
    kombu and its transports raise.

    ``options``: of the transport, as ``confirm_publish`` of RabbitMQ's; Valkey's gets none.
    """
    import kombu  # noqa: PLC0415 - slow

    configured = get_settings().broker_url
    if configured is None:  # never the one that may happen to run at the default address
        raise ClusterUnusable(
            "No broker runs for this cluster.", "Start it: nexusflow up. Or set NEXUSFLOW_BROKER_URL."
        )
    url = configured.get_secret_value()
    made: Any = kombu.Connection(  # type: ignore[attr-defined,no-untyped-call]
        url, connect_timeout=CONNECT_SECONDS, transport_options=options if url.startswith("amqp") else {}
    )
    made.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS)
    return made


def look() -> Look:
    """Ask the broker for the lengths of its queues. Never raises."""
    try:
        with connection() as opened:
            is_rabbitmq = opened.transport.driver_type == "amqp"
            found = Look(has_dead_letters=is_rabbitmq)
            for spec in QUEUES:
                known = _declared(opened, spec.name)
                if known is not None:
                    dead = _declared(opened, spec.dead) if is_rabbitmq else None
                    found.depths[spec.name] = Depth(
                        known.message_count,
                        known.consumer_count if is_rabbitmq else None,
                        dead.message_count if dead is not None else (0 if is_rabbitmq else None),
                    )
            return found
    except ClusterUnusable as error:
        return Look(complaint=error.message.rstrip("."))
    except Exception as error:
        text = str(error).strip()
        return Look(complaint=(text.splitlines()[0] if text else type(error).__name__)[:200])


def _declared(opened: Any, name: str) -> Any:
    """What the broker says of a queue that exists; None where it does not."""
    channel = opened.channel()
    try:
        return channel.queue_declare(name, passive=True)
    except opened.channel_errors:
        return None
    finally:
        if getattr(channel, "is_open", True):
            channel.close()


class _Watch:
    """Looks at the broker in a thread of its own, so that whoever asks can leave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Look | None = None
        self._at = 0.0
        self._thread: threading.Thread | None = None

    def within(self, seconds: float) -> Look:
        """A look at most ``KEPT_SECONDS`` old, or a complaint if none is there in time."""
        with self._lock:
            if self._found is not None and time.monotonic() - self._at < KEPT_SECONDS:
                return self._found
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="broker-look", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(seconds)
        with self._lock:
            if self._found is not None and time.monotonic() - self._at < KEPT_SECONDS:
                return self._found
        return Look(complaint="the broker did not answer in time")

    def _look(self) -> None:
        found = look()
        with self._lock:
            self._found, self._at = found, time.monotonic()


_watch = _Watch()


def look_within(seconds: float) -> Look:
    """What the broker says, if it says it within ``seconds``; a recent answer serves again. Never raises."""
    return _watch.within(seconds)
