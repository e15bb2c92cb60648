"""The body of every queue's ``run_segment``: one message's work, between Celery and the runner."""

from typing import Any

from celery.exceptions import Ignore

from nexusflow.db.session import DATABASE_DOWN
from nexusflow.log import get_logger
from nexusflow.workflows.engine.execution import Outside
from nexusflow.workflows.engine.runner import Carried, NotClaimed, Runner
from nexusflow.workflows.messaging.canvas import carried, chord_body
from nexusflow.workflows.rows.counters import count
from nexusflow.workflows.rows.files import open_file
from nexusflow.workflows.rows.work import FenceLost, Hint, Holder
from nexusflow.workflows.starts.children import start_child

log = get_logger(__name__)
OUTSIDE = Outside(open_file=open_file, start_child=start_child)


def run_hinted(task: Any, hint: Hint) -> list[int]:
    """Run the hinted segment; gives the segments that it made ready, for the join.

    Raises Ignore where Celery must not go on with what the message carries: the segment was not this task's to run,
    is not finished, or what follows it in the canvas is not what its records made ready.
    """
    request = task.request
    holder = Holder(worker=request.hostname or "", task_id=request.id)
    try:
        done = Runner(holder, Carried(frozenset(carried(request)), chord_body(request)), OUTSIDE).run(hint)
    except (NotClaimed, FenceLost) as refusal:
        count("refused")
        if isinstance(refusal, NotClaimed) and not carried(request) and chord_body(request) is None:
            return []  # a twin, and nothing goes on after it: an exception would cost more than the claim did
        raise Ignore("nothing to do: another has it, it is not due, or the run is over") from None
    except DATABASE_DOWN as error:
        # What was claimed becomes claimable when its lease ends; what was not is published again.
        log.warning("segment.abandoned", run=hint.run, segment=hint.segment, error=str(error))
        raise Ignore("left to its lease: the database is away") from None
    if not done.returns:
        raise Ignore("done for now: it goes on by a message of its own")
    return done.fired
