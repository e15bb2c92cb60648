"""The rows of a workflow's schedules: kept in step with the published definition, and listed.

Their ticks are made and started in ``ticks.py``.
"""

import hashlib
from typing import Any

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow.workflows.definition import Definition, ScheduleTrigger
from nexusflow.workflows.statements import WAKE
from nexusflow.workflows.timing import Timing, next_times

__all__ = ["Timing", "next_times", "sync_schedules"]

REMOVE = sa.text("""
DELETE FROM schedules WHERE workflow_id = :workflow AND NOT digest = ANY(CAST(:kept AS text[])) RETURNING id
""")

SKIP_REMOVED = sa.text("""
UPDATE ticks SET state = 'skipped', error = CAST(:error AS jsonb)
WHERE schedule_id = ANY(CAST(:schedules AS uuid[])) AND state = 'due'
""")

# An unchanged trigger keeps its row, and with it the anchor and the time of its next tick.
KEEP = sa.text("""
INSERT INTO schedules (id, tenant_id, workflow_id, digest, name, spec, input, anchor, next_at)
VALUES (:id, :tenant, :workflow, :digest, :name, CAST(:spec AS jsonb), CAST(:input AS jsonb), :anchor, :next_at)
ON CONFLICT (workflow_id, digest) DO UPDATE SET next_at = coalesce(schedules.next_at, excluded.next_at)
""")

REMOVED = {"code": "TRIGGER_REMOVED", "message": "The trigger was changed or removed before this tick was started."}


def sync_schedules(connection: sa.Connection, tenant: str, workflow_id: str, definition: Definition | None) -> None:
    """Make a workflow's schedules those of this definition's triggers; None: it has none (any more).

    Part of the caller's transaction (a tenant's). A trigger that did not change goes on as it was; a changed one is
    a new schedule, counted from now. Ticks of removed ones that were not started yet are skipped.
    """
    wanted = {_digest(each): each for each in (definition.triggers if definition is not None else ())}
    removed = connection.execute(REMOVE, {"workflow": workflow_id, "kept": list(wanted)}).scalars().all()
    if removed:
        error = orjson.dumps(REMOVED).decode()
        connection.execute(SKIP_REMOVED, {"schedules": [str(each) for each in removed], "error": error})
    if not wanted:
        return
    now = connection.execute(sa.text("SELECT now()")).scalar_one()
    anchor = now.replace(microsecond=0)
    for digest, trigger in wanted.items():
        timing = timing_of(trigger)
        row = {
            "id": str(uuid_utils.uuid7()),
            "tenant": tenant,
            "workflow": workflow_id,
            "digest": digest,
            "name": trigger.id,
            "spec": orjson.dumps(timing.to_json()).decode(),
            "input": orjson.dumps(trigger.input).decode(),
            "anchor": anchor,
            "next_at": next(iter(next_times(timing, now, 1, anchor)), None),
        }
        connection.execute(KEEP, row)
    connection.execute(sa.text(WAKE))


def timing_of(trigger: ScheduleTrigger) -> Timing:
    """The part of a trigger that says when."""
    return Timing(trigger.cron, trigger.interval, trigger.timezone, trigger.misfire, trigger.misfire_limit)


def _digest(trigger: ScheduleTrigger) -> str:
    """The same for the same trigger, whatever the order of its words."""
    words: dict[str, Any] = trigger.model_dump(mode="json")
    return hashlib.sha256(orjson.dumps(words, option=orjson.OPT_SORT_KEYS)).hexdigest()
