"""The dispatcher: publishes what is due, repairs what was lost, ends what is over. Any number may run at once.

It reads scheduling tables of all tenants under the control role, and each plan under its tenant. Every pass is made
of short statements that skip rows another dispatcher holds.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.errors import ClusterUnusable, NexusError
from nexusflow.log import get_logger
from nexusflow.settings import get_settings
from nexusflow.workflows.clock.admitting import Admitter
from nexusflow.workflows.clock.ticks import Ticker
from nexusflow.workflows.clock.windows import FIRST, Windows
from nexusflow.workflows.language.limits import USUAL_PRIORITY
from nexusflow.workflows.messaging.publish import messages_in, publish
from nexusflow.workflows.rows import statements
from nexusflow.workflows.rows.counters import count, count_run
from nexusflow.workflows.rows.effects import Fired
from nexusflow.workflows.rows.plans import plan_of
from nexusflow.workflows.rows.signals import EXPIRE

log = get_logger(__name__)
BATCH = 500
FULL_AT = 1_000
"""Segments published ahead of their claims at which a queue counts as full."""
FULL_SECONDS = 5.0
"""How long a queue counts as full after it was seen to be."""
BACKLOG_SECONDS = 0.1
"""How soon to look again while more is due than the window takes, or the broker is away."""
PARTITIONS_AHEAD_MONTHS = 3
PARTITION_CHECK_SECONDS = 3600.0
CANCEL_GRACE_SECONDS = 5.0
USUAL = timedelta(minutes=USUAL_PRIORITY)

# In turn over tenants, by their weights: of equal ones each one's first waiting segment comes before any one's second.
# Only so many are published ahead of their claims that a queue stays shallow, and a late-comer does not wait behind a
# flood. Older runs come first: what has begun ends before more begins; a priority makes a run older, or younger.
DUE = sa.text("""
WITH waiting AS (
    SELECT s.run_id, s.segment, s.item, s.lo, s.queue, s.due_at,
           row_number() OVER (PARTITION BY s.queue, s.tenant_id
                              ORDER BY coalesce(uuid_floor(a.turn + :usual), s.run_id), s.run_id, s.due_at)
           / t.weight::float8 AS turn
    FROM segments s JOIN tenants t ON t.id = s.tenant_id LEFT JOIN admissions a ON a.run_id = s.run_id
    WHERE s.state = 'ready' AND s.published_at IS NULL AND s.due_at <= now()),
admitted AS (
    SELECT w.*, row_number() OVER (PARTITION BY queue ORDER BY turn, due_at) AS place FROM waiting w
    ORDER BY place LIMIT :batch),
ahead AS (
    SELECT queue, count(*) AS hints FROM segments WHERE state = 'ready' AND published_at IS NOT NULL GROUP BY queue),
taken AS (
    SELECT s.run_id, s.segment, s.item, s.lo
    FROM segments s JOIN admitted a USING (run_id, segment, item, lo) LEFT JOIN ahead h ON h.queue = a.queue
    WHERE a.place <= coalesce(CAST(CAST(:windows AS jsonb) ->> a.queue AS int), :first) - coalesce(h.hints, 0)
      AND s.state = 'ready' AND s.published_at IS NULL
    FOR UPDATE OF s SKIP LOCKED)
UPDATE segments s SET published_at = now(), publications = s.publications + 1
FROM taken t, runs r
WHERE (s.run_id, s.segment, s.item, s.lo) = (t.run_id, t.segment, t.item, t.lo) AND r.id = s.run_id
RETURNING s.tenant_id, s.run_id, r.version_id, s.segment, s.item, s.lo, s.hi
""")

# While a queue is that long, who makes work ready for it leaves the publishing to the dispatcher.
FULL = sa.text("""
INSERT INTO full_queues (queue, until)
SELECT queue, now() + make_interval(secs => :seconds) FROM segments
WHERE state = 'ready' AND published_at IS NOT NULL GROUP BY queue HAVING count(*) >= :full
ON CONFLICT (queue) DO UPDATE SET until = excluded.until
""")

UNCLAIMED = sa.text("""
SELECT queue, count(*) AS hints FROM segments WHERE state = 'ready' AND published_at IS NOT NULL
GROUP BY queue HAVING min(published_at) < now() - make_interval(secs => :hint)
""")

# Nobody claimed it for long: the message is lost, or far behind. Twins are harmless but not free: no more are published
# than messages are missing in the queue, or an overload would feed on itself. The wait doubles.
LOST_HINTS = sa.text("""
WITH taken AS (
    SELECT run_id, segment, item, lo FROM segments
    WHERE queue = :queue AND state = 'ready' AND published_at < now() - make_interval(secs => :hint)
      AND published_at < now() - make_interval(secs => :hint * power(2, least(publications, 3) - 1))
    ORDER BY published_at LIMIT :batch FOR UPDATE SKIP LOCKED)
UPDATE segments s SET published_at = now(), publications = s.publications + 1
FROM taken t, runs r
WHERE (s.run_id, s.segment, s.item, s.lo) = (t.run_id, t.segment, t.item, t.lo) AND r.id = s.run_id
RETURNING s.tenant_id, s.run_id, r.version_id, s.segment, s.item, s.lo, s.hi
""")

EXPIRED = sa.text("""
WITH expired AS (
    -- Hung: its worker still beat when the step's time was up. A dead worker's lease ends before that.
    SELECT run_id, segment, item, lo, coalesce(deadline < now() AND lease_until >= deadline, false) AS hung
    FROM segments
    WHERE state = 'leased' AND (lease_until < now() OR deadline < now())
    LIMIT :batch FOR UPDATE SKIP LOCKED),
freed AS (
    UPDATE segments s SET state = 'ready', fence = NULL, worker = NULL, task_id = NULL, lease_until = NULL,
        deadline = NULL, published_at = now(), publications = 1,
        losses = s.losses + CASE WHEN e.hung THEN 0 ELSE 1 END,
        verdict = CASE WHEN e.hung THEN 'timed_out' END
    FROM expired e, runs r
    WHERE (s.run_id, s.segment, s.item, s.lo) = (e.run_id, e.segment, e.item, e.lo) AND r.id = s.run_id
    RETURNING s.tenant_id, s.run_id, r.version_id, s.segment, s.item, s.lo, s.hi, s.losses, e.hung),
noted AS (
    INSERT INTO run_events (run_id, tenant_id, type, item, data)
    SELECT run_id, tenant_id, 'segment.recovered', item, jsonb_build_object('segment', segment, 'losses', losses,
        'reason', CASE WHEN hung THEN 'step timeout' ELSE 'lease expired' END) FROM freed)
SELECT tenant_id, run_id, version_id, segment, item, lo, hi FROM freed
""")

RUN_TIMEOUTS = sa.text("""
UPDATE runs SET ending = 'timed_out', ending_at = now(), cause = 'user',
    error = '{"code": "RUN_TIMED_OUT", "message": "The run took longer than its timeout.", "cause": "user",
              "hint": "Raise the workflow''s `timeout`, or see which step took so long."}'::jsonb
WHERE deadline < now() AND finished_at IS NULL AND ending IS NULL
""")

QUEUE_TIMEOUTS = sa.text("""
UPDATE runs SET ending = 'timed_out', ending_at = now(), cause = 'platform',
    error = '{"code": "QUEUE_TIMED_OUT", "message": "The run did not start within its queue_timeout.",
              "cause": "platform",
              "hint": "Scale up the workers, raise its limits or its `queue_timeout`, or start fewer runs."}'::jsonb
WHERE start_by < now() AND status = 'queued' AND finished_at IS NULL AND ending IS NULL
""")

ENDINGS = sa.text("""
SELECT r.id FROM runs r WHERE r.ending IS NOT NULL AND r.finished_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.run_id = r.id AND s.state = 'leased') LIMIT :batch
""")

# What was asked to stop is not waited for without end; a late record finds no row to hold.
ABANDON = sa.text("""
DELETE FROM segments s USING runs r WHERE r.id = s.run_id AND r.ending IN ('cancelled', 'timed_out')
  AND r.finished_at IS NULL AND r.ending_at < now() - make_interval(secs => :grace)
""")

# What a run left behind when it ended at the same instant as it was fired: nobody may claim it any more.
LEFT_BEHIND = sa.text("""
DELETE FROM segments s USING runs r WHERE r.id = s.run_id AND r.finished_at IS NOT NULL
  AND s.state = 'ready' AND s.published_at < now() - make_interval(secs => :hint)
""")

# The broker did not take them: no hint is out, so they are due again, and not waited for as lost ones are.
NOT_PUBLISHED = sa.text("""
UPDATE segments s SET published_at = NULL, publications = greatest(s.publications - 1, 0)
FROM jsonb_to_recordset(CAST(:segments AS jsonb)) AS t(run_id uuid, segment int, item text, lo int)
WHERE (s.run_id, s.segment, s.item, s.lo) = (t.run_id, t.segment, t.item, t.lo) AND s.state = 'ready'
""")

NEXT_DUE = sa.text("""
SELECT extract(epoch FROM min(due_at) - now()) AS segment,
    (SELECT extract(epoch FROM min(next_at) - now()) FROM schedules WHERE next_at IS NOT NULL) AS tick,
    EXISTS (SELECT 1 FROM ticks WHERE state = 'due') AS has_open_ticks
FROM segments WHERE state = 'ready' AND published_at IS NULL
""")

# What the windows are learned from: asked only while more is due than they take.
BACKLOG = sa.text("""
SELECT (SELECT coalesce(jsonb_object_agg(q.queue, jsonb_build_object('hints', q.hints, 'age', q.age)), '{}') FROM (
        SELECT queue, count(*) AS hints, extract(epoch FROM avg(now() - published_at)) AS age FROM segments
        WHERE state = 'ready' AND published_at IS NOT NULL GROUP BY queue) AS q) AS ahead,
    ARRAY(SELECT DISTINCT s.queue FROM segments s WHERE s.state = 'ready' AND s.published_at IS NULL
          AND s.due_at <= now()) AS waiting
""")


@dataclass(frozen=True)
class Pass:
    """What one pass of the dispatcher did: counts of published, recovered and finished, and when to look again."""

    published: int
    recovered: int
    finished: int
    next_due: float | None


class Dispatcher:
    """One dispatcher: ``step`` does what is due now."""

    def __init__(self) -> None:
        self._next_sweep = 0.0
        self._spare_until = 0.0
        self._spare_the_living()
        self._next_partitions = 0.0
        self._ticker = Ticker()
        self._windows = Windows()
        self.admitter = Admitter()

    def step(self) -> Pass:
        """Publish what is due and, when it is time, sweep. Raises ClusterUnusable while the database is away."""
        try:
            return self._step()
        except ClusterUnusable:
            self._spare_the_living()
            raise

    def _spare_the_living(self) -> None:
        """While the database was away nobody could renew a lease: take none before the living had time to."""
        self._spare_until = time.monotonic() + 1.5 * get_settings().heartbeat_seconds

    def _step(self) -> Pass:
        recovered = finished = 0
        has_more = self.admitter.step()
        windows = {"windows": self._windows.to_json(), "first": FIRST}
        published = self._publish(DUE, {"batch": BATCH, "usual": USUAL} | windows)
        count("ticks", self._ticker.step())
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + get_settings().sweep_seconds
            recovered, finished = self._sweep()
            self.admitter.sweep()
            has_more = self.admitter.step()
        if now >= self._next_partitions:
            self._next_partitions = now + PARTITION_CHECK_SECONDS
            with control_session() as connection:
                connection.execute(sa.text("SELECT make_partitions(:ahead)"), {"ahead": PARTITIONS_AHEAD_MONTHS})
        with control_session() as connection:
            due = connection.execute(NEXT_DUE).one()
        soon = None if due.segment is None else float(due.segment)
        if soon is None or soon > 0:
            self._windows.look({}, ())
        else:
            with control_session() as connection:
                found = connection.execute(BACKLOG).one()
            ahead = {queue: (int(each["hints"]), float(each["age"])) for queue, each in found.ahead.items()}
            self._windows.look(ahead, found.waiting)
            soon = 0.0 if published == BATCH else BACKLOG_SECONDS
        tick = self._ticker.look_in(None if due.tick is None else float(due.tick), due.has_open_ticks)
        waits = [each for each in (soon, tick, 0.0 if has_more else None) if each is not None]
        return Pass(published, recovered, finished, min(waits, default=None))

    def _sweep(self) -> tuple[int, int]:
        recovered = self._publish(EXPIRED, {"batch": BATCH}) if time.monotonic() > self._spare_until else 0
        recovered += self._publish_lost()
        count("sweeps")
        count("recovered", recovered)
        if recovered:
            log.info("dispatch.recovered", segments=recovered)
        with control_session() as connection:
            connection.execute(FULL, {"full": FULL_AT, "seconds": FULL_SECONDS})
            connection.execute(RUN_TIMEOUTS)
            connection.execute(QUEUE_TIMEOUTS)
            connection.execute(ABANDON, {"grace": CANCEL_GRACE_SECONDS})
            connection.execute(EXPIRE, {"batch": BATCH})
            connection.execute(LEFT_BEHIND, {"hint": get_settings().hint_seconds})
            endings = [str(row.id) for row in connection.execute(ENDINGS, {"batch": BATCH})]
        for run in endings:
            with control_session() as connection:
                finish = sa.text(statements.FINISH_ENDING.replace("%(run)s", ":run"))
                count_run(connection.execute(finish, {"run": run}).one_or_none())
        return recovered, len(endings)

    def _publish_lost(self) -> int:
        hint, published = get_settings().hint_seconds, 0
        with control_session() as connection:
            unclaimed = connection.execute(UNCLAIMED, {"hint": hint}).all()
        for queue, hints in unclaimed:
            messages = messages_in(queue)
            if messages is not None and messages < hints:
                missing = min(BATCH, hints - messages)
                published += self._publish(LOST_HINTS, {"queue": queue, "batch": missing, "hint": hint})
        return published

    def _publish(self, statement: sa.TextClause, parameters: dict[str, Any]) -> int:
        with control_session() as connection:
            rows = connection.execute(statement, parameters).all()
        by_run: dict[tuple[str, str, str], list[Fired]] = defaultdict(list)
        for tenant, run, version, segment, item, lo, hi in rows:
            by_run[str(tenant), str(run), str(version)].append(Fired(segment, item, lo, hi, leased=False))
        refused = _publish_all(by_run)
        if refused:
            with control_session() as connection:
                connection.execute(NOT_PUBLISHED, {"segments": orjson.dumps(refused).decode()})
        count("published", len(rows) - len(refused))
        return len(rows) - len(refused)


def _publish_all(by_run: dict[tuple[str, str, str], list[Fired]]) -> list[dict[str, Any]]:
    """Publish, and give back what the broker did not take; after its first refusal nothing more is tried."""
    refused: list[dict[str, Any]] = []
    for (tenant, run, version), ready in by_run.items():
        try:
            plan = None if refused else plan_of(tenant, version)
        except (NexusError, ValueError) as error:
            log.error("dispatch.no_plan", run=run, version=version, error=str(error))
            continue
        if plan is None or not publish(plan, tenant, run, ready):
            refused += [{"run_id": run, "segment": each.segment, "item": each.item, "lo": each.lo} for each in ready]
    return refused


def listen(url: str) -> psycopg.Connection:
    """A connection that hears of new work. Raises psycopg.OperationalError."""
    connection = psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="nexusflow-dispatch")
    connection.execute("LISTEN nexusflow_work")
    return connection
