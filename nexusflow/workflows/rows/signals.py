"""Signals and the waits that they end: who gets which, decided in the database.

A signal says that an event happened: a name, a key, data. A wait for an event is the segment that ends it, due when its
time is over. Both sides take one lock for a tenant's name and key before they look for the other: so a signal finds
every wait that was opened before it, a wait every signal that was kept before it, and each signal goes to one wait.
"""

import datetime
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import Pipeline, tenant_pipeline
from nexusflow.workflows.rows.effects import AwaitedEvent
from nexusflow.workflows.rows.statements import WAKE

NEVER = "9999-01-01T00:00:00+00:00"
"""When a wait for an event is due that waits as long as it takes: PostgreSQL's infinity is no moment for Python."""

LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', %(tenant)s::text, %(event)s::text, %(key)s::text), 0))
"""

# A front end that is stopped in the middle must not keep others waiting for the lock.
PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '10s'"

# The row is there only if the run goes on; one that says its event already was here before.
AWAIT = """
UPDATE segments SET event = %(event)s, event_key = %(key)s, event_step = %(step)s, waits_since = clock_timestamp()
WHERE run_id = %(run)s AND segment = %(closer)s AND item = %(item)s AND lo = 0 AND event IS NULL
"""

# What both sides do with a signal and the wait it is for. A paused run's wait is due once the run goes on.
_DELIVER = """
due AS (
    UPDATE segments s SET signal_id = c.signal, published_at = NULL, publications = 0,
        due_at = CASE WHEN s.held_due IS NULL THEN now() ELSE s.due_at END,
        held_due = CASE WHEN s.held_due IS NULL THEN NULL ELSE now() END
    FROM chosen c
    WHERE s.run_id = c.run_id AND s.segment = c.segment AND s.item = c.item AND s.lo = 0
      AND s.state = 'ready' AND s.event IS NOT NULL AND s.signal_id IS NULL
      AND EXISTS (SELECT 1 FROM steps t
            WHERE t.run_id = s.run_id AND t.step = s.event_step AND t.item = s.item AND t.state = 'waiting')
    RETURNING c.signal, s.run_id, s.event_step, s.item, s.event, s.event_key),
given AS (
    UPDATE signals g SET state = 'delivered', delivered_at = now(), run_id = d.run_id, step = d.event_step,
        item = d.item
    FROM due d WHERE g.id = d.signal AND g.state = 'kept'),
told AS (
    INSERT INTO run_events (run_id, tenant_id, type, step, item, data)
    SELECT run_id, %(tenant)s, 'signal.received', event_step, item,
           jsonb_build_object('signal', signal, 'event', event, 'key', event_key) FROM due)
SELECT signal FROM due
"""

# A wait takes the signal that was kept first.
TAKE_KEPT = f"""
WITH chosen AS (
    SELECT id AS signal, %(run)s::uuid AS run_id, %(closer)s::int AS segment, %(item)s::text AS item FROM signals
    WHERE tenant_id = %(tenant)s AND name = %(event)s AND key = %(key)s AND state = 'kept' AND expires_at > now()
      AND EXISTS (SELECT 1 FROM segments s WHERE s.run_id = %(run)s AND s.segment = %(closer)s
            AND s.item = %(item)s AND s.lo = 0 AND s.state = 'ready' AND s.event IS NOT NULL AND s.signal_id IS NULL)
    ORDER BY received_at, id LIMIT 1 FOR UPDATE),
{_DELIVER}
"""  # noqa: S608 - constants

# A signal goes to the wait that has waited longest. The row is locked first and looked at again by DELIVER, whose
# statement sees what a worker did meanwhile.
LONGEST = """
SELECT s.run_id, s.segment, s.item FROM segments s JOIN runs r ON r.id = s.run_id
WHERE s.tenant_id = %(tenant)s AND s.event = %(event)s AND s.event_key = %(key)s AND s.signal_id IS NULL
  AND s.state = 'ready' AND r.ending IS NULL AND r.finished_at IS NULL
  AND EXISTS (SELECT 1 FROM steps t
        WHERE t.run_id = s.run_id AND t.step = s.event_step AND t.item = s.item AND t.state = 'waiting')
ORDER BY s.waits_since, s.run_id, s.segment, s.item LIMIT 1 FOR UPDATE OF s
"""

DELIVER = f"""
WITH chosen AS (
    SELECT %(signal)s::uuid AS signal, %(run)s::uuid AS run_id, %(segment)s::int AS segment, %(item)s::text AS item),
{_DELIVER}
"""

KEEP = """
INSERT INTO signals (id, tenant_id, name, key, data, expires_at)
VALUES (%(signal)s, %(tenant)s, %(event)s, %(key)s, %(data)s::jsonb, now() + make_interval(secs => %(keep)s))
"""

READ = """
SELECT id, name, key, data, CASE WHEN state = 'kept' AND expires_at <= now() THEN 'expired' ELSE state END AS state,
       received_at, expires_at, delivered_at, run_id, step, item
FROM signals WHERE id = %(signal)s
"""

REFUSE = "UPDATE signals SET state = 'refused' WHERE id = %(signal)s"

# A sweep's: what nobody waited for in time.
EXPIRE = sa.text("""
UPDATE signals SET state = 'expired' WHERE id IN (
    SELECT id FROM signals WHERE state = 'kept' AND expires_at <= now() LIMIT :batch FOR UPDATE SKIP LOCKED)
""")

GIVEN = """
SELECT s.event, s.event_key, s.signal_id, g.data FROM segments s LEFT JOIN signals g ON g.id = s.signal_id
WHERE s.run_id = %(run)s AND s.segment = %(segment)s AND s.item = %(item)s AND s.lo = %(lo)s
"""


@dataclass(frozen=True)
class Signal:
    """A signal, and what became of it.

    ``state``: kept (until ``expires_at``), delivered (to ``step`` of the run ``run_id``, at ``item``), expired, or
    refused (nobody waited, and it was not to be kept).
    """

    id: str
    name: str
    key: str
    data: Any
    state: str
    received_at: datetime.datetime
    expires_at: datetime.datetime
    delivered_at: datetime.datetime | None
    run_id: str | None
    step: str | None
    item: str | None

    @classmethod
    def of(cls, row: Any) -> "Signal":
        """The signal of a row."""
        run = str(row.run_id) if row.run_id is not None else None
        return cls(**dict(row._mapping) | {"id": str(row.id), "run_id": run, "item": row.item or None})


@dataclass(frozen=True)
class Given:
    """What a wait for an event got: ``signal`` is None where none came in time."""

    event: str
    key: str
    signal: str | None
    data: Any


def await_event(pipeline: Pipeline, parameters: dict[str, Any], awaited: AwaitedEvent) -> None:
    """Let the segment that was just inserted wait for its event, or end at once by a signal that came before.

    ``parameters``: the claim's. Part of the transaction that inserts the segment.
    """
    given = parameters | awaited.__dict__
    pipeline.run(LOCK, given)
    pipeline.run(AWAIT, given)
    pipeline.run(TAKE_KEPT, given)


def given_to_wait(tenant: str, key: dict[str, Any]) -> Given | None:
    """What the claimed segment that ends a wait was given; None where the segment is there no more.

    ``key``: the claim's parameters. Nothing is given to a segment that is claimed, so the answer stays as it is.
    """
    with tenant_pipeline(tenant) as pipeline:
        pipeline.begin()
        found = pipeline.run(GIVEN, key)
    row = found.fetchone()
    return None if row is None else Given(row[0] or "", row[1] or "", row[2] and str(row[2]), row[3])


def hand_out(connection: sa.Connection, signal: dict[str, Any]) -> bool:
    """Keep a signal, and give it to the wait that has waited longest; whether there was one.

    ``signal``: tenant, signal (its id), event, key, data (JSON) and keep (seconds). Part of the caller's transaction.
    """
    connection.exec_driver_sql(PATIENT)
    connection.exec_driver_sql(LOCK, signal)
    connection.exec_driver_sql(KEEP, signal)
    while (wait := connection.exec_driver_sql(LONGEST, signal).mappings().first()) is not None:
        if connection.exec_driver_sql(DELIVER, signal | dict(wait) | {"run": wait["run_id"]}).first() is not None:
            connection.exec_driver_sql(WAKE)
            return True
    return False


def refuse(connection: sa.Connection, signal: dict[str, Any]) -> None:
    """Record that a signal was for nobody, and is not kept."""
    connection.exec_driver_sql(REFUSE, signal)


def read(connection: sa.Connection, signal: str) -> Signal | None:
    """A signal as it is now; None where there is none of this id."""
    row = connection.exec_driver_sql(READ, {"signal": signal}).first()
    return None if row is None else Signal.of(row)
