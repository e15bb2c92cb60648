"""Publish segments that became ready: as much canvas as a message may carry, confirmed by the broker."""

from collections.abc import Iterable
from itertools import groupby

from kombu.exceptions import OperationalError

from nexusflow.log import get_logger
from nexusflow.workflows import canvas
from nexusflow.workflows.plan import Plan
from nexusflow.workflows.work import Fired

log = get_logger(__name__)


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
