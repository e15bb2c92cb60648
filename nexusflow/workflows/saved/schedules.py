"""The rows of a workflow's schedules: kept in step with the published definition, and listed.

Their ticks are made and started in ``ticks.py``.
"""

import datetime
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import tenant_session
from nexusflow.workflows.language.definition import Definition, ScheduleTrigger
from nexusflow.workflows.language.timing import Timing, next_times
from nexusflow.workflows.rows.statements import WAKE

__all__ = ["ScheduleReport", "TickReport", "Timing", "list_schedules", "next_times", "sync_schedules"]

SHOWN_TIMES = 5
SHOWN_TICKS = 5
MAX_SCHEDULES = 1_000

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

LIST = sa.text("""
SELECT s.id, s.workflow_id, w.name AS workflow, s.name, s.spec, s.anchor, s.next_at
FROM schedules s JOIN workflows w ON w.id = s.workflow_id
WHERE CAST(:workflow AS uuid) IS NULL OR s.workflow_id = :workflow
ORDER BY s.next_at NULLS LAST, s.id LIMIT :limit
""")

LAST_TICKS = sa.text("""
SELECT t.schedule_id, t.at, t.state, t.run_id, t.error, r.status AS run_status
FROM unnest(CAST(:schedules AS uuid[])) AS listed(id)
CROSS JOIN LATERAL (SELECT * FROM ticks WHERE schedule_id = listed.id ORDER BY at DESC LIMIT :ticks) AS t
LEFT JOIN runs r ON r.id = t.run_id
ORDER BY t.at DESC
""")

REMOVED = {"code": "TRIGGER_REMOVED", "message": "The trigger was changed or removed before this tick was started."}


@dataclass(frozen=True)
class TickReport:
    """A time at which a schedule was due, and what came of it. ``state``: due, started, skipped or failed."""

    at: datetime.datetime
    state: str
    run_id: str | None
    run_status: str | None
    error: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """As the API and ``--json`` show it."""
        return {
            "at": self.at,
            "state": self.state,
            "run_id": self.run_id,
            "run_status": self.run_status,
            "error": self.error,
        }


@dataclass(frozen=True)
class ScheduleReport:
    """A schedule of a published workflow, its next times (none: it stands still) and its last ticks, newest first."""

    id: str
    workflow_id: str
    workflow: str
    name: str | None
    timing: Timing
    next_times: list[datetime.datetime]
    ticks: list[TickReport]

    def as_dict(self) -> dict[str, Any]:
        """As the API and ``--json`` show it."""
        return {
            "id": self.id,
            "workflow_id": self.workflow_id,
            "workflow": self.workflow,
            "name": self.name,
            **self.timing.to_json(),
            "next_at": self.next_times[0] if self.next_times else None,
            "next_times": self.next_times,
            "ticks": [each.as_dict() for each in self.ticks],
        }


def list_schedules(tenant: str, workflow_id: str | None = None) -> list[ScheduleReport]:
    """A tenant's schedules (those of one workflow), the next to tick first; at most 1,000."""
    with tenant_session(tenant) as connection:
        rows = connection.execute(LIST, {"workflow": workflow_id, "limit": MAX_SCHEDULES}).all()
        listed = {"schedules": [str(row.id) for row in rows], "ticks": SHOWN_TICKS}
        ticks: dict[str, list[TickReport]] = defaultdict(list)
        for row in connection.execute(LAST_TICKS, listed):
            run = str(row.run_id) if row.run_id else None
            ticks[str(row.schedule_id)].append(TickReport(row.at, row.state, run, row.run_status, row.error))
    return [_report(row, ticks[str(row.id)]) for row in rows]


def _report(row: Any, ticks: list[TickReport]) -> ScheduleReport:
    timing = Timing.from_json(row.spec)
    times = []
    if row.next_at is not None:
        times = [row.next_at.astimezone(datetime.UTC), *next_times(timing, row.next_at, SHOWN_TIMES - 1, row.anchor)]
    return ScheduleReport(str(row.id), str(row.workflow_id), row.workflow, row.name, timing, times, ticks)


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
