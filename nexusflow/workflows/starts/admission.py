"""Who comes in: a start under limits that look at other runs, and the admission of what may begin.

Starts whose limit refuses, replaces, reuses or debounces come one after the other, under the tenant's lock; all others
only insert their rows. Admission is one function of the database (``admit_runs``), called by starts for their own runs
and by the dispatcher for those that wait. What a limit counts are rows of live runs, so nothing can leak.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from nexusflow.errors import Conflict, QueueFull
from nexusflow.settings import get_settings

ADMIT = "SELECT admit_runs(%(tenant)s, %(only)s::uuid[], %(max_running)s::int, %(batch)s::int)"
BATCH = 200
"""The most runs that one call admits, so that nobody waits long for the lock."""

_LOCK = sa.text("SELECT lock_admission(CAST(:tenant AS uuid))")

_LIVE = sa.text("""
SELECT s.scope, count(*) AS runs, (array_agg(s.run_id ORDER BY s.run_id) FILTER (WHERE r.ending IS NULL))[1] AS first
FROM slots s JOIN runs r ON r.id = s.run_id
WHERE s.tenant_id = :tenant AND s.scope = ANY(:scopes) AND r.finished_at IS NULL GROUP BY s.scope
""")

# The newest ones stay. What a debounce takes the place of has not begun.
_SUPERSEDED = sa.text("""
SELECT DISTINCT ON (run_id) run_id, kind, newest FROM (
    SELECT s.run_id, s.kind, s.most, row_number() OVER newest_first AS place,
           first_value(s.run_id) OVER newest_first AS newest
    FROM slots s
    WHERE s.tenant_id = :tenant AND s.scope = ANY(:scopes) AND (s.kind = 'concurrency' OR s.admitted_at IS NULL)
      AND (SELECT r.finished_at IS NULL AND r.ending IS NULL FROM runs r WHERE r.id = s.run_id)
    WINDOW newest_first AS (PARTITION BY s.scope
        ORDER BY (SELECT a.asked_at FROM admissions a WHERE a.run_id = s.run_id) DESC, s.run_id DESC)) AS ranked
WHERE place > most ORDER BY run_id, kind
""")
_SUPERSEDE = sa.text("""
UPDATE runs SET ending = 'cancelled', ending_at = now(), cause = 'user', error = CAST(:error AS jsonb)
WHERE id = :run AND finished_at IS NULL AND ending IS NULL
""")

_WHY = {
    "debounce": ("DEBOUNCED", "Of runs that come close together only the last one runs (`debounce`)."),
    "concurrency": (
        "REPLACED",
        "No more runs than the limit run at once, and the newest ones do (`when_full: replace`).",
    ),
}

_FULL = sa.text("""
SELECT coalesce(t.max_queued, :max_queued) AS most, (
    SELECT count(*) FROM runs r WHERE r.tenant_id = t.id AND r.finished_at IS NULL AND r.status = 'queued') AS queued, (
    SELECT count(*) FROM (SELECT FROM runs r WHERE r.tenant_id = t.id AND r.finished_at > now() - interval '1 minute'
                          LIMIT 10000) AS over) AS ended
FROM tenants t WHERE t.id = :tenant
""")
MAX_RETRY_SECONDS = 60.0


@dataclass
class Chosen:
    """What becomes of the runs of one request: ``ids`` in its order, and which of them are ``new``."""

    ids: list[str]
    new: set[str] = field(default_factory=set)


def choose(connection: sa.Connection, tenant: str, runs: Sequence[Mapping[str, Any]]) -> Chosen:
    """Take the tenant's lock and look which of these runs are started, or answered with one that is there.

    ``runs``: each with its ``id`` and ``slots``. Raises Conflict (``LIMIT_REACHED``) where one of them is refused.
    """
    connection.execute(_LOCK, {"tenant": tenant})
    scopes = {slot["scope"] for run in runs for slot in run["slots"] if slot["when_full"] in ("refuse", "reuse")}
    live: dict[str, int] = {}
    first: dict[str, str] = {}
    if scopes:
        for row in connection.execute(_LIVE, {"tenant": tenant, "scopes": sorted(scopes)}):
            live[row.scope] = row.runs
            if row.first is not None:
                first[row.scope] = str(row.first)
    chosen = Chosen([])
    for run in runs:
        there = next((first[each["scope"]] for each in run["slots"] if _is_reused(each, first)), None)
        chosen.ids.append(there or run["id"])
        if there is not None:
            continue
        chosen.new.add(run["id"])
        for slot in run["slots"]:
            taken = live.get(slot["scope"], 0)
            if slot["when_full"] == "refuse" and taken >= slot["most"]:
                raise _reached(slot, taken)
            live[slot["scope"]] = taken + 1
            if slot["when_full"] == "reuse":
                first[slot["scope"]] = run["id"]
    return chosen


def _is_reused(slot: Mapping[str, Any], first: Mapping[str, str]) -> bool:
    return slot["when_full"] == "reuse" and slot["scope"] in first


def _reached(slot: Mapping[str, Any], taken: int) -> Conflict:
    of_it = f" with the key '{slot['key']}'" if slot["key"] else ""
    runs = "1 run" if taken == 1 else f"{taken:,} runs"
    return Conflict(
        "LIMIT_REACHED",
        f"The workflow has {runs}{of_it} already, and its limit is {slot['most']:,}.",
        "Start it again when one of them is over; with `when_full: queue` it would wait for that.",
    )


def supersede(connection: sa.Connection, tenant: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """Let the runs that were just inserted take the places of older ones, where their limits say so."""
    scopes = {
        slot["scope"]
        for run in runs
        for slot in run["slots"]
        if slot["when_full"] == "replace" or slot["kind"] == "debounce"
    }
    if not scopes:
        return
    for run, kind, newest in connection.execute(_SUPERSEDED, {"tenant": tenant, "scopes": sorted(scopes)}).all():
        code, hint = _WHY[kind]
        error: dict[str, Any] = {
            "code": code,
            "message": f"A newer run took its place: {newest}.",
            "hint": hint,
            "cause": "user",
        }
        error["details"] = {"run": str(newest)}
        connection.execute(_SUPERSEDE, {"run": run, "error": orjson.dumps(error).decode()})


def admission(tenant: str, only: Sequence[str] | None) -> dict[str, Any]:
    """The parameters of ``ADMIT``; ``only``: these runs, if nobody waits before them."""
    most = get_settings().max_running_runs
    return {"tenant": tenant, "only": None if only is None else list(only), "max_running": most, "batch": BATCH}


def queue_full(connection: sa.Connection, tenant: str, wanted: int) -> QueueFull:
    """Why no more runs are accepted, and about when there is room again."""
    row = connection.execute(_FULL, {"tenant": tenant, "max_queued": get_settings().max_queued_runs}).one()
    too_many = max(1, row.queued + wanted - row.most)
    seconds = min(MAX_RETRY_SECONDS, max(1.0, 60.0 * too_many / row.ended)) if row.ended else MAX_RETRY_SECONDS
    waiting = "1 run waits" if row.queued == 1 else f"{row.queued:,} runs wait"
    message = f"{waiting} to start already, and at most {row.most:,} may; this would be {wanted:,} more."
    return QueueFull(message, round(seconds))


def answer_of(ids: Sequence[str]) -> str:
    """The runs of a request, as its key keeps them."""
    return orjson.dumps({"run_ids": list(ids)}).decode()
