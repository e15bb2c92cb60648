"""The durable join: a Celery result backend that lets PostgreSQL's rows decide when a chord's body runs.

Celery counts a chord's members in its result backend; a count in Redis dies with Redis. Here a member's task returns
the segments that its records made ready (``runner.Done.fired``): the member whose record completed the gate fired it,
in the database, exactly once, and that member alone publishes the body. Celery's own states are not kept at all.
"""

from collections.abc import Sequence
from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.canvas import maybe_signature

from nexusflow.log import get_logger
from nexusflow.workflows.messaging.canvas import chord_body

log = get_logger(__name__)


class PostgresJoins(BaseBackend):  # type: ignore[misc]  # Celery has no types
    """Chords without a counter: see the module. Results of tasks are in the steps' records, never here."""

    supports_autoexpire = True

    def apply_chord(self, header_result_args: Any, body: Any, **_options: Any) -> None:
        """Nothing to prepare: the gate is a statement over records that the members write anyway."""

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_options: Any) -> None:
        """Publish the chord's body if this member fired its gate.

        A body that is lost between firing and publishing is published again by the dispatcher: its row is ready.
        """
        if state != states.SUCCESS or not isinstance(result, Sequence) or chord_body(request) not in result:
            return
        try:
            maybe_signature(request.chord, app=self.app).apply_async()
        except OSError as error:  # kombu's OperationalError among them
            log.warning("publish.failed", error=str(error))

    def store_result(self, task_id: str, result: Any, state: str, *_args: Any, **_options: Any) -> Any:
        """Keep nothing: a message's fate is no truth about a step."""
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return {"status": states.PENDING, "result": None}

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """Every task looks pending: ask the run's records instead."""
        return self._get_task_meta_for(task_id)

    def forget(self, task_id: str) -> None:
        """Nothing is kept."""
