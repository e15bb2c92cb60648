"""Publish segments that became ready: as much canvas as a message may carry, confirmed by the broker."""

import time
from collections.abc import Iterable
from itertools import groupby

from kombu.exceptions import OperationalError

from nexusflow.celery import app
from nexusflow.log import get_logger
from nexusflow.workflows.messaging import canvas
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows.effects import Fired

log = get_logger(__name__)
ASK_SECONDS = 2.0
HASTY_SECONDS = 0.2
"""RabbitMQ asks a quorum queue for 0.25 s at most (``rabbit_quorum_queue:stat``), and else tells 0 and 0 consumers."""


def messages_in(queue: str) -> int | None:
    """How many messages wait in a queue of the broker; None where it does not say."""
    try:
        # One of its own: a kept one may be dead since the broker was restarted, and says so in many ways.
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=ASK_SECONDS)
            try:
                with connection.channel() as channel:
                    began = time.monotonic()
                    found = channel.queue_declare(queue, passive=True)
                    took = time.monotonic() - began
                    if not found.message_count and not found.consumer_count and took >= HASTY_SECONDS:
                        log.warning("broker.unasked", queue=queue, error=f"its answer took {took:.2f} s")
                        return None
                    return int(found.message_count)
            except connection.channel_errors:
                return 0  # there is no such queue: who publishes declares it
            except connection.connection_errors as error:
                raise OperationalError(str(error)) from error
    except (OperationalError, OSError) as error:
        log.warning("broker.unasked", queue=queue, error=str(error))
        return None


def publish(plan: Plan, tenant: str, run: str, ready: Iterable[Fired]) -> bool:
    """Send a message for each segment (with its tail); False where the broker did not take them all.

    Nothing is lost then: the rows say what is ready, and the dispatcher publishes again what nobody claims.
    """
    places = sorted({(each.item, each.lo, each.segment) for each in ready})
    try:
        for (item, lo), group in groupby(places, key=lambda place: place[:2]):
            segments = [segment for _, _, segment in group]
            for signature in canvas.signatures(plan, segments, tenant=tenant, run=run, item=item, lo=lo):
                signature.apply_async()
    except (OperationalError, OSError) as error:
        log.warning("publish.failed", run=run, error=str(error))
        return False
    return True
