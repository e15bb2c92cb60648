"""What starts need of versions: immutable, so it is read once and kept in the process."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from nexusflow.errors import Conflict
from nexusflow.workflows.engine.consequences import patience
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows.values import RecentlyUsed
from nexusflow.workflows.saved.versions import Version, no_version, unknown_workflow
from nexusflow.workflows.starts.limits import WORDS, Limits

CACHE_BYTES = 32 * 1024 * 1024
"""Of versions as Python's objects, taken for seven times their schemas' JSON."""
_GROWTH = 7
CURRENT = 10_000
"""Workflows of which it is known which version starts."""

_RESOLVE = sa.text("""
SELECT w.status, v.id, v.number, v.config -> 'input' -> 'schema' AS schema,
       CAST(v.config ->> 'timeout' AS float8) AS timeout,
       CAST(v.config ->> 'queue_timeout' AS float8) AS queue_timeout, v.plan,
       jsonb_build_object('concurrency', v.config -> 'concurrency', 'rate', v.config -> 'rate', 'debounce',
                          v.config -> 'debounce', 'singleton', v.config -> 'singleton', 'priority',
                          v.config -> 'priority') AS limits
FROM workflows w LEFT JOIN workflow_versions v ON v.workflow_id = w.id
    AND v.number = coalesce(CAST(:number AS numeric), w.published_version,
                            (SELECT max(n.number) FROM workflow_versions n WHERE n.workflow_id = w.id))
WHERE w.id = :workflow AND w.deleted_at IS NULL
""")


@dataclass(frozen=True)
class Startable:
    """What a start needs of a version. ``entries``: its first segments, as JSON. ``calls``: workflows, by name."""

    id: str
    number: int
    schema: dict[str, Any]
    timeout: float | None
    queue_timeout: float | None
    entries: str
    calls: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


class _Seen:
    """Versions by tenant, workflow and number, and which number was last seen to be the one to start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._kept: RecentlyUsed[Startable] = RecentlyUsed(CACHE_BYTES)

    def get(self, tenant: str, workflow: str, number: int | None) -> Startable | None:
        if number is None:
            with self._lock:
                number = self._current.get((tenant, workflow))
        return None if number is None else self._kept.get((tenant, workflow, number))

    def put(self, tenant: str, workflow: str, startable: Startable, *, is_current: bool) -> None:
        size = _GROWTH * len(orjson.dumps(startable.schema)) + len(startable.entries) + 1_000
        self._kept.put((tenant, workflow, startable.number), startable, size)
        if is_current:
            with self._lock:
                self._current[tenant, workflow] = startable.number
                self._current.move_to_end((tenant, workflow))
                if len(self._current) > CURRENT:
                    self._current.popitem(last=False)


_seen = _Seen()


def remember(tenant: str, version: Version) -> None:
    """Keep what a start needs of a version that was just saved here."""
    asked = version.definition
    entries = entries_of(version.plan)
    startable = Startable(
        version.id,
        version.number,
        asked.input.schema_,
        asked.timeout,
        asked.queue_timeout,
        entries,
        version.plan.calls,
        Limits.of(asked.model_dump(mode="json", include=set(WORDS))),
    )
    _seen.put(tenant, version.workflow, startable, is_current=False)


def recall_version(tenant: str, workflow: str, number: int | None) -> Startable | None:
    """The version of this number, or (None) the one that was last seen to be the one to start."""
    return _seen.get(tenant, workflow, number)


def resolve(connection: sa.Connection, tenant: str, workflow: str, number: int | None) -> Startable:
    """The version to start: this one, else the published one, else the newest. Raises NotFound, Conflict (archived)."""
    found = connection.execute(_RESOLVE, {"workflow": workflow, "number": number}).first()
    if found is None:
        raise unknown_workflow(workflow)
    if found.status == "archived":
        raise Conflict("ARCHIVED", "The workflow is archived, so nothing starts it.", "Publish it to use it again.")
    if found.id is None:
        raise no_version(number)
    plan = Plan.from_json(found.plan)
    startable = Startable(
        str(found.id),
        found.number,
        found.schema or {},
        found.timeout,
        found.queue_timeout,
        entries_of(plan),
        plan.calls,
        Limits.of(found.limits),
    )
    _seen.put(tenant, workflow, startable, is_current=number is None)
    return startable


def entries_of(plan: Plan) -> str:
    """A plan's first segments, as rows to be."""
    first = [plan.segments[entry] for entry in plan.scopes[""].entries]
    rows = [{"segment": each.id, "queue": each.queue, "patience": patience(plan, each)} for each in first]
    return orjson.dumps(rows).decode()
