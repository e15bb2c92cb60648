"""Ticks of schedules: made when they are due, each once, and turned into runs. A part of the dispatcher.

A tick is a row, unique by schedule and time, inserted in the transaction that moves the schedule on; that is done
under the control role, for many schedules in one statement. Its run is started under its tenant, in the transaction
that marks the tick as started. So a beat that dies in between leaves a tick that is due, and any other takes it up;
and any number of beats make no second run. What cannot be started is marked as failed, with the reason, and left so.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from nexusflow.db.session import AWAY, control_session, tenant_session
from nexusflow.errors import ClusterUnusable, NexusError
from nexusflow.log import crash_fields, get_logger
from nexusflow.workflows.language.timing import Timing, latest_times, next_times
from nexusflow.workflows.starts.starting import start_runs

log = get_logger(__name__)

GRACE = timedelta(seconds=30)
"""A tick this late is still on time: a beat that was killed is back by then. Older ones are missed."""
SCHEDULES_A_PASS = 500
TICKS_A_PASS = 200
TICKS_A_TRANSACTION = 20
START_SECONDS = 0.25
"""How long one pass starts ticks: the dispatcher has other work, and comes back at once."""
RETRY_SECONDS = 0.5
_MOST_FRESH = 60

PATIENCE = "30s"
# A process that is paused in the middle of a transaction would keep its rows from all others: the server ends it.
PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '{}'"

DUE = sa.text("""
SELECT id, tenant_id, workflow_id, spec, anchor, next_at, now() AS now FROM schedules
WHERE next_at <= now() ORDER BY next_at LIMIT :batch FOR UPDATE SKIP LOCKED
""")

MAKE = sa.text("""
INSERT INTO ticks (schedule_id, at, tenant_id, workflow_id, state, error)
SELECT schedule_id, at, tenant_id, workflow_id, state, error
FROM jsonb_to_recordset(CAST(:ticks AS jsonb))
    AS t(schedule_id uuid, at timestamptz, tenant_id uuid, workflow_id uuid, state text, error jsonb)
ON CONFLICT (schedule_id, at) DO NOTHING
""")

MOVE = sa.text("""
UPDATE schedules s SET next_at = t.next_at
FROM jsonb_to_recordset(CAST(:schedules AS jsonb)) AS t(id uuid, next_at timestamptz) WHERE s.id = t.id
""")

# Tenants in turn, so that one with thousands of ticks does not hold up the others'.
OPEN = sa.text("""
SELECT tenant_id, schedule_id, at FROM (
    SELECT tenant_id, schedule_id, at, row_number() OVER (PARTITION BY tenant_id ORDER BY at) AS turn
    FROM ticks WHERE state = 'due') AS open
ORDER BY turn, at LIMIT :batch
""")

TAKE = sa.text("""
SELECT t.schedule_id, t.at, t.workflow_id, s.id IS NULL AS is_removed, s.spec ->> 'misfire' AS misfire, s.input,
       t.at < now() - CAST(:grace AS interval) AS is_late,
       EXISTS (SELECT 1 FROM ticks later WHERE later.schedule_id = t.schedule_id AND later.at > t.at) AS is_followed
FROM jsonb_to_recordset(CAST(:ticks AS jsonb)) AS given(schedule_id uuid, at timestamptz)
JOIN ticks t USING (schedule_id, at) LEFT JOIN schedules s ON s.id = t.schedule_id
WHERE t.state = 'due' ORDER BY t.at FOR UPDATE OF t SKIP LOCKED
""")

SETTLE = sa.text("""
UPDATE ticks t SET state = given.state, run_id = given.run_id, error = given.error
FROM jsonb_to_recordset(CAST(:ticks AS jsonb))
    AS given(schedule_id uuid, at timestamptz, state text, run_id uuid, error jsonb)
WHERE (t.schedule_id, t.at) = (given.schedule_id, given.at)
""")

MISSED = {
    "code": "MISSED",
    "message": "Nobody kept the clock at that time, and `misfire` says to leave such ticks out.",
}
REMOVED = {"code": "TRIGGER_REMOVED", "message": "The trigger was changed or removed before this tick was started."}
UNREADABLE = {
    "code": "SCHEDULE_UNREADABLE",
    "message": "The schedule could not be read here, so it stands still; the log of beat says why.",
    "hint": "Publish the workflow again once the cause is gone, such as a time zone that beat's machine does not know.",
}


class Ticker:
    """One dispatcher's share of the clock: ``step`` does what is due now, in bounded pieces."""

    def __init__(self) -> None:
        self._look_at = 0.0
        self._is_stuck = False

    def step(self) -> int:
        """Make the ticks that are due and start their runs; gives how many ticks were settled.

        Raises ClusterUnusable while the database is away.
        """
        if time.monotonic() < self._look_at:
            return 0
        self._is_stuck = True
        try:
            _make_ticks()
            settled, self._is_stuck = _start_ticks()
        except ClusterUnusable:
            raise
        except Exception as error:
            log.error("schedule.pass_failed", **crash_fields(error))  # the dispatcher's other work goes on
            return 0
        return settled

    def look_in(self, next_tick: float | None, has_open: bool) -> float | None:
        """Seconds until ``step`` has something to do, from those to the next tick and whether any tick is due still."""
        wait = 0.0 if has_open else next_tick
        if wait is not None:
            wait = max(wait, RETRY_SECONDS if self._is_stuck else 0.0)
        self._look_at = float("inf") if wait is None else time.monotonic() + wait
        return wait


def _make_ticks() -> None:
    """One transaction: the ticks of schedules that are due, and when those tick next."""
    with control_session() as connection:
        connection.exec_driver_sql(PATIENT.format(PATIENCE))
        rows = connection.execute(DUE, {"batch": SCHEDULES_A_PASS}).all()
        if not rows:
            return
        ticks, moved = [], []
        for row in rows:
            try:
                made, next_at = _due_ticks(row)
            except Exception as error:
                # A zone that this machine does not know, say: it stands still until its workflow is published again.
                log.error("schedule.unreadable", schedule=str(row.id), tenant=str(row.tenant_id), **crash_fields(error))
                made, next_at = [_new_tick(row, row.next_at, "failed", UNREADABLE)], None
            ticks += made
            moved.append({"id": row.id, "next_at": next_at})
        connection.execute(MAKE, {"ticks": _json(ticks)})
        connection.execute(MOVE, {"schedules": _json(moved)})


def _due_ticks(row: Any) -> tuple[list[dict[str, Any]], datetime | None]:
    """The rows of a due schedule's ticks, and its next time."""
    timing = Timing.from_json(row.spec)
    runs, skipped = split_ticks(timing, row.anchor, row.next_at, row.now)
    ticks = [_new_tick(row, at, "due", None) for at in runs]
    ticks += [_new_tick(row, at, "skipped", MISSED) for at in skipped]
    return ticks, next(iter(next_times(timing, row.now, 1, row.anchor)), None)


def split_ticks(
    timing: Timing, anchor: datetime, first: datetime, now: datetime
) -> tuple[list[datetime], list[datetime]]:
    """The ticks from ``first`` to now that are run, and the last one that is left out, by the misfire policy."""
    on_time_from = now - GRACE
    runs = latest_times(timing, anchor, max(first, on_time_from), now, _MOST_FRESH)
    if first >= on_time_from:
        return runs, []
    most = timing.misfire_limit if timing.misfire == "all" else 1
    missed = latest_times(timing, anchor, first, on_time_from - timedelta(microseconds=1), most + 1)
    if timing.misfire == "all" or (timing.misfire == "last" and not runs):
        late, left_out = missed[-most:], missed[:-most]
    else:
        late, left_out = [], missed
    return late + runs, left_out[-1:]


def _new_tick(schedule: Any, at: datetime, state: str, error: dict[str, Any] | None) -> dict[str, Any]:
    tenant, workflow = schedule.tenant_id, schedule.workflow_id
    return {"schedule_id": schedule.id, "at": at, "tenant_id": tenant, "workflow_id": workflow,
            "state": state, "error": error}  # fmt: skip


def _start_ticks() -> tuple[int, bool]:
    """Start runs of due ticks for a while; how many ticks were settled, and whether some could not be."""
    until = time.monotonic() + START_SECONDS
    with control_session() as connection:
        rows = connection.execute(OPEN, {"batch": TICKS_A_PASS}).all()
    by_tenant: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_tenant[str(row.tenant_id)].append({"schedule_id": row.schedule_id, "at": row.at})
    settled, is_stuck = 0, False
    for tenant, ticks in _in_turn(by_tenant):
        if time.monotonic() > until:
            break
        try:
            done = _start_some(tenant, ticks)
        except ClusterUnusable:
            raise
        except Exception as error:
            # Of this tenant's, and tried again: the others' must not wait behind it.
            log.error("schedule.ticks_failed", tenant=tenant, ticks=len(ticks), **crash_fields(error))
            done = 0
        settled += done
        is_stuck = is_stuck or done < len(ticks)
    return settled, is_stuck


def _in_turn(by_tenant: dict[str, list[dict[str, Any]]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """The tenants' ticks in pieces of one transaction's size, each tenant's first piece before any second."""
    longest = max(map(len, by_tenant.values()), default=0)
    for start in range(0, longest, TICKS_A_TRANSACTION):
        for tenant, ticks in by_tenant.items():
            if piece := ticks[start : start + TICKS_A_TRANSACTION]:
                yield tenant, piece


def _start_some(tenant: str, ticks: Sequence[dict[str, Any]]) -> int:
    """Settle some ticks of a tenant in one transaction: each started, skipped or failed, unless another beat has it."""
    with tenant_session(tenant) as connection:
        connection.exec_driver_sql(PATIENT.format(PATIENCE))
        taken = connection.execute(TAKE, {"ticks": _json(ticks), "grace": GRACE}).all()
        settled: list[dict[str, Any]] = []
        wanted: dict[str, list[Any]] = defaultdict(list)
        for row in taken:
            if row.is_removed:
                settled.append(_verdict(row, "skipped", error=REMOVED))
            elif row.is_late and (row.misfire == "skip" or (row.misfire == "last" and row.is_followed)):
                settled.append(_verdict(row, "skipped", error=MISSED))
            else:
                wanted[str(row.schedule_id)].append(row)
        for rows in wanted.values():
            settled += _start_schedule(connection, tenant, rows)
        connection.execute(SETTLE, {"ticks": _json(settled)})
    return len(settled)


def _start_schedule(connection: sa.Connection, tenant: str, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """A run for each tick of one schedule, or the same failure for all."""
    workflow, inputs = str(rows[0].workflow_id), [row.input for row in rows]
    connection.exec_driver_sql("SAVEPOINT schedule")
    try:
        started = start_runs(tenant, workflow, inputs, trigger="schedule", connection=connection)
    except (ClusterUnusable, *AWAY):
        raise
    except NexusError as error:
        failure = _failure(error)
        log.warning("schedule.failed", tenant=tenant, workflow=workflow, code=error.code, ticks=len(rows))
    except Exception as error:
        failure = {"code": "INTERNAL", "message": "The run could not be started; the log of beat says why."}
        log.error("schedule.failed", tenant=tenant, workflow=workflow, ticks=len(rows), **crash_fields(error))
    else:
        return [_verdict(row, "started", run=run) for row, run in zip(rows, started.run_ids, strict=True)]
    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT schedule")
    return [_verdict(row, "failed", error=failure) for row in rows]


def _failure(error: NexusError) -> dict[str, Any]:
    """Why a tick started nothing, as its row keeps it."""
    shown: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if error.details:
        shown["details"] = [each.as_dict() for each in error.details[:5]]
    return shown


def _verdict(row: Any, state: str, *, run: str | None = None, error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"schedule_id": row.schedule_id, "at": row.at, "state": state, "run_id": run, "error": error}


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
