"""What those who watch read: a run's events in an order in which none can be missed, and the runs that changed.

Events become visible when their transaction commits, so not in the order of their ids. Each carries its transaction
(``xact``). Whatever is older than the oldest transaction still running (the *horizon*) is complete. So a **position**
is a pair (xact, id) below the horizon: all up to it has been read, and nothing will ever appear before it.
"""
# ruff: noqa: S608 - composed of the constants in this file alone; every value is a parameter

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, NotFound
from nexusflow.workflows.reports.redaction import Redaction, redaction_of
from nexusflow.workflows.rows.states import RUN_TERMINAL

NEWEST, LIVE, CHANGED = 100, 200, 500
"""Of the runs watched: how many of the newest, of those not over, and of those just over."""

STATUS = sa.text("SELECT status FROM runs WHERE id = :run")
COLUMNS = "e.id, e.xact::text AS xact, e.at, e.type, e.step, e.item, e.data"
MOMENT = "pg_current_snapshot()::text AS snapshot"

# The part of the log that a feed keeps at hand: the newest.
NEWEST_EVENTS = sa.text(f"""
SELECT {COLUMNS}, {MOMENT} FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT * FROM run_events WHERE run_id = :run ORDER BY xact DESC, id DESC LIMIT :limit) AS e ON true
""")

# What became visible since another snapshot was taken. What a restored database brought along from another server's
# count of transactions lies in the future of this one's, so it would be new for ever: a feed has it from its start.
SINCE_SNAPSHOT = sa.text(f"""
SELECT {COLUMNS}, {MOMENT} FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT * FROM run_events WHERE run_id = :run AND xact >= pg_snapshot_xmin(CAST(:snapshot AS pg_snapshot))
       AND NOT pg_visible_in_snapshot(xact, CAST(:snapshot AS pg_snapshot))
       AND xact < pg_snapshot_xmax(pg_current_snapshot())
    ORDER BY xact, id) AS e ON true
""")

AFTER_POSITION = sa.text(f"""
SELECT {COLUMNS}, {MOMENT} FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT * FROM run_events WHERE run_id = :run AND (xact, id) > (CAST(CAST(:xact AS text) AS xid8), :id)
    ORDER BY xact, id LIMIT :limit) AS e ON true
""")

ENDED = sa.text("SELECT id FROM runs WHERE id = ANY(CAST(:runs AS uuid[])) AND finished_at IS NOT NULL")

RUNS = sa.text("""
WITH seen AS (
    (SELECT id FROM runs WHERE tenant_id = :tenant ORDER BY id DESC LIMIT :newest)
    UNION (SELECT id FROM runs WHERE tenant_id = :tenant AND finished_at IS NULL ORDER BY id DESC LIMIT :live)
    UNION (SELECT id FROM runs WHERE tenant_id = :tenant AND finished_at > now() - interval '15 seconds'
           ORDER BY finished_at DESC LIMIT :changed))
SELECT r.id, r.workflow_id, w.name AS workflow, v.number AS version, r.status, r.ending, r.cause, r.trigger,
       r.error ->> 'code' AS error_code, r.accepted_at, r.started_at, r.finished_at
FROM seen JOIN runs r USING (id) JOIN workflows w ON w.id = r.workflow_id
JOIN workflow_versions v ON v.id = r.version_id
ORDER BY r.id DESC
""")


class Position(NamedTuple):
    """How far a reader has read; written as ``xact-id``."""

    xact: int
    id: int

    def __str__(self) -> str:
        return f"{self.xact}-{self.id}"


START = Position(0, 0)


@dataclass(frozen=True)
class Event:
    """One line of a run's log. ``position``: where a reader that has got it goes on."""

    key: Position
    position: Position
    at: datetime.datetime
    type: str
    step: str | None
    item: str | None
    data: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The event as the API shows it; ``id`` is its own, and stays the same where it is sent again."""
        return {
            "id": str(self.key.id),
            "at": _moment(self.at),
            "type": self.type,
            "step": self.step,
            "item": self.item,
            "data": self.data,
        }


@dataclass(frozen=True)
class News:
    """What one look gave: events in order, up to where that is complete, and the run's status just before.

    ``snapshot``: what was visible, for the next look. ``more``: a full page was read, so there may be more.
    """

    events: tuple[Event, ...]
    position: Position
    snapshot: str
    status: str
    more: bool

    @property
    def is_final(self) -> bool:
        """Whether nothing will be added any more: the last event is written in the transaction that ends the run."""
        return self.status in RUN_TERMINAL


def parse_position(text: str) -> Position:
    """A position as a client gives it back. Raises InvalidInput."""
    found = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,18})", text.strip())
    if found is None or int(found.group(1)) >= 2**63:
        raise InvalidInput(
            f"'{text[:60]}' is no place in a run's events.", "Give the `id` of the last event received, or nothing."
        )
    return Position(int(found.group(1)), int(found.group(2)))


def newest_events(tenant: str, run: str, limit: int) -> News:
    """The last events of a run; ``more`` tells that there are older ones. Raises NotFound, ClusterUnusable."""
    return _look(tenant, run, NEWEST_EVENTS, {"limit": limit}, START, limit)


def events_since(tenant: str, run: str, snapshot: str, position: Position) -> News:
    """All that became visible since that snapshot, without any bound: whoever follows has nearly all of it."""
    return _look(tenant, run, SINCE_SNAPSHOT, {"snapshot": snapshot}, position, None)


def events_after(tenant: str, run: str, position: Position, limit: int) -> News:
    """A page of the events behind a position, those that are not complete yet included.

    A position of the future is another server's (a database was restored): the events are read from their beginning.
    """
    news = _look(tenant, run, AFTER_POSITION, {**position._asdict(), "limit": limit}, position, limit)
    if position.xact > int(news.snapshot.split(":")[1]):
        return _look(tenant, run, AFTER_POSITION, {**START._asdict(), "limit": limit}, START, limit)
    return news


def _look(
    tenant: str, run: str, statement: sa.TextClause, values: dict[str, Any], position: Position, limit: int | None
) -> News:
    with tenant_session(tenant) as connection:
        # The status first: of a run that was over then, all events are visible now.
        status = connection.execute(STATUS, {"run": run}).scalar_one_or_none()
        if status is None:
            raise NotFound(f"There is no run {run}.", "Check the id.")
        rows = connection.execute(statement, {"run": run, **values}).all()
    snapshot = rows[0].snapshot
    found = sorted((row for row in rows if row.id is not None), key=lambda row: (int(row.xact), row.id))
    more = limit is not None and len(found) == limit
    redaction = redaction_of(tenant, run) if any(row.data for row in found) else Redaction()
    events, position = _placed(found, position, int(snapshot.split(":")[0]), redaction)
    if not more:
        position = max(position, Position(int(snapshot.split(":")[0]), 0))
    return News(tuple(events), position, snapshot, status, more)


def _placed(
    rows: Iterable[Any], position: Position, horizon: int, redaction: Redaction
) -> tuple[list[Event], Position]:
    """The rows as events, and how far they are complete."""
    events = []
    for row in rows:
        key = Position(int(row.xact), row.id)
        if key.xact < horizon:
            position = max(position, key)
        data = redaction.event(row.data or {})
        events.append(Event(key, position, row.at, row.type, row.step, row.item or None, data))
    return events, position


def ended_runs(tenant: str, runs: Sequence[str]) -> set[str]:
    """Which of these runs are over. Raises ClusterUnusable."""
    with tenant_session(tenant) as connection:
        return {str(row.id) for row in connection.execute(ENDED, {"runs": list(runs)})}


def watched_runs(tenant: str) -> list[dict[str, Any]]:
    """The newest runs, those that are not over and those that ended a moment ago, as JSON data; newest first."""
    asked = {"tenant": tenant, "newest": NEWEST, "live": LIVE, "changed": CHANGED}
    with tenant_session(tenant) as connection:
        rows = connection.execute(RUNS, asked).mappings().all()
    return [{name: _json(value) for name, value in row.items()} for row in rows]


def _json(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return _moment(value)
    return value if value is None or isinstance(value, int) else str(value)


def _moment(value: datetime.datetime) -> str:
    """As in all answers: UTC, with six digits of a second and a Z."""
    return value.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
