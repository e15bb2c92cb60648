"""Celery itself, hop by hop and without a worker: what it publishes, and what it publishes when a task returns."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery import Celery, current_app
from celery.app.trace import build_tracer
from celery.backends.base import BaseBackend
from celery.canvas import Signature, maybe_signature
from kombu import Queue

from nexusflow.queues import QUEUE_NAMES


@dataclass(frozen=True)
class Message:
    """A published message: its bytes (body, headers, properties) and the request a worker makes of it."""

    size: int
    task: str
    queue: str
    request: dict[str, Any]

    @property
    def segment(self) -> int:
        return self.request["args"][2]

    @property
    def item(self) -> str:
        return self.request["args"][3]


class JoinByWord(BaseBackend):
    """A result backend that keeps nothing and sends a chord's body when it is told to."""

    join = False

    def apply_chord(self, *args: Any, **kwargs: Any) -> None:
        """No message, no state: members are rows elsewhere."""

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        if self.join:
            maybe_signature(request.chord, app=self.app).apply_async()


def _run_segment(tenant: str, run: str, segment: int, item: str, lo: int) -> list[int]:
    """Does nothing: the walk decides what a segment does. What it returns must not travel in any message."""
    return list(range(2_000))


class CeleryWalk:
    """An app on kombu's in-memory transport."""

    def __init__(self) -> None:
        self.app = Celery("walk", broker="memory://", set_as_current=False)
        self.app.conf.task_queues = [Queue(name) for name in QUEUE_NAMES]
        self.app.conf.task_create_missing_queues = False
        self.app._get_backend = lambda: JoinByWord(self.app)
        self._tracers = {}
        for name in QUEUE_NAMES:
            task = self.app.task(_run_segment, name=f"tasks.{name}.run_segment", ignore_result=True, shared=False)
            self._tracers[task.name] = build_tracer(task.name, task, app=self.app)
        self._channel = self.app.connection_for_read().channel()

    def publish(self, canvases: Sequence[Signature]) -> list[Message]:
        """Send canvases as a producer would; the messages that came out."""
        with self._current():
            for canvas in canvases:
                canvas.apply_async()
        return list(self._published())

    def finish(self, message: Message, *, join: bool = False) -> list[Message]:
        """Let the message's task return; what Celery published then. ``join``: its chord is complete."""
        self.app.backend.join = join
        request = message.request
        with self._current():
            outcome = self._tracers[message.task](request["id"], request["args"], {}, request)
        assert outcome.info is None, outcome
        return list(self._published())

    @contextmanager
    def _current(self) -> Iterator[None]:
        before = current_app._get_current_object()
        self.app.set_current()
        try:
            yield
        finally:
            before.set_current()

    def _published(self) -> Iterator[Message]:
        for name in QUEUE_NAMES:
            queue = self.app.amqp.queues[name].bind(self._channel)
            while (message := queue.get(no_ack=True)) is not None:
                args, _, embed = message.payload
                shown = {"correlation_id", "reply_to", "delivery_mode", "priority"}
                properties = {key: value for key, value in message.properties.items() if key in shown}
                size = len(message.body) + len(json.dumps(message.headers)) + len(json.dumps(properties))
                delivery = {"routing_key": name, "redelivered": False}
                request = {**message.headers, **embed, "args": args, "kwargs": {}, "delivery_info": delivery}
                yield Message(size, message.headers["task"], name, request)
