"""The app of processes that send every message twice: ``celery -A …failpoints.doubled``."""

from typing import Any

from kombu.messaging import Producer

from nexusflow.celery import app
from nexusflow.queues import QUEUE_NAMES

__all__ = ["app"]

_publish = Producer.publish


def _twice(self: Producer, *arguments: Any, **named: Any) -> Any:
    if named.get("routing_key") in QUEUE_NAMES:
        _publish(self, *arguments, **named)
    return _publish(self, *arguments, **named)


Producer.publish = _twice
