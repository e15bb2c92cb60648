"""What a worker takes from its queues: a message that cannot be a task goes to the dead letters, whole.

Celery acknowledges an undecodable message away, and one whose body has another shape ends the worker. Here each
message is looked at before it is handed on, so that whatever is refused is refused before it is acknowledged.
"""

import functools
import uuid
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from nexusflow.log import get_logger

log = get_logger(__name__)
_PARTS = 3
"""The parts of a message's body in Celery's protocol 2: arguments, keyword arguments, what follows."""
RUNS_SEGMENT = ".run_segment"
"""How the name of every task that runs a segment ends."""
_ARGUMENTS = (str, str, int, str, int)
"""Of ``run_segment``: tenant, run, segment, item, lo; the last two may be left out."""
_LEAST_ARGUMENTS = 3
BACK_SECONDS = 1.0
"""How often a broker that is away is tried. Celery's own pauses grow to half a minute, in which all would wait."""
_NATIVE_DELAYS = "DelayedDelivery"


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """A consumer that refuses what it cannot hand on, and is soon back when its broker is."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]  # Celery has no types
        """Celery's steps, without the one that would make 28 queues and exchanges for delays: ours are rows."""

        default_steps = tuple(
            each for each in CeleryConsumer.Blueprint.default_steps if not str(each).endswith(_NATIVE_DELAYS)
        )

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes."""
        pauses = {"interval_start": BACK_SECONDS, "interval_step": 0.0, "interval_max": BACK_SECONDS}
        conn.ensure_connection = functools.partial(conn.ensure_connection, **pauses)
        return super().ensure_connected(conn)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """The function that gets each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> Any:
            why = complaint(message, self.app.tasks)
            if why is None:
                return handle(message)
            return self._refuse(message, why)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """What could not even be unpacked when it came."""
        self._refuse(message, _undecodable(exc))

    def _refuse(self, message: Any, why: str) -> None:
        log.error("message.refused", reason=why, queue=(message.delivery_info or {}).get("routing_key"))
        message.reject_log_error(log, self.connection_errors)


def complaint(message: Any, tasks: Any) -> str | None:
    """Why a message cannot be a task's; None where it can."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    name, task_id = headers.get("task"), headers.get("id")
    if not isinstance(name, str) or not isinstance(task_id, str):
        return "no task is named in its headers (a message of an old schema, or of another program)"
    if name not in tasks:
        return f"there is no task {name[:100]}"
    try:
        body = message.decode()
    except Exception as error:  # whatever a serializer or a decompression raises
        return _undecodable(error)
    if not isinstance(body, list | tuple) or len(body) != _PARTS:
        return "its body is not a task's arguments (a message of an old schema)"
    arguments, words, embedded = body
    if not isinstance(arguments, list | tuple) or not isinstance(words, dict) or not isinstance(embedded, dict | None):
        return "its body is not a task's arguments (a message of an old schema)"
    return _misfit(arguments, words) if name.endswith(RUNS_SEGMENT) else None


def _undecodable(error: Exception) -> str:
    return f"it cannot be decoded: {type(error).__name__}"


def _misfit(arguments: Any, words: dict[str, Any]) -> str | None:
    """Why these cannot be the arguments of ``run_segment``."""
    fit = not words and _LEAST_ARGUMENTS <= len(arguments) <= len(_ARGUMENTS)
    fit = fit and all(type(given) is kind for given, kind in zip(arguments, _ARGUMENTS, strict=False))
    if fit:
        try:
            uuid.UUID(arguments[0]), uuid.UUID(arguments[1])
        except ValueError:
            fit = False
    return None if fit else "its arguments are not those of a segment (a message of an old schema)"
