"""The cluster's processes as they last said: one row each, written with every heartbeat, gone at a clean end."""

import contextlib
import datetime
import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
import psutil  # type: ignore[import-untyped]
import sqlalchemy as sa

import nexusflow
from nexusflow.db.session import control_session
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings
from nexusflow.workflows.rows.counters import read_counts

KEPT = datetime.timedelta(days=1)
"""How long the row of a process that ended without a word stays."""
PRUNING_SECONDS = 3600.0

# Of two workers with one name the second keeps a row of its own, so that both are seen.
_SAY = sa.text("""
INSERT INTO processes AS p (name, kind, host, pid, version, state, details, stats)
VALUES (:name, :kind, :host, :pid, :version, :state, CAST(:details AS jsonb), CAST(:stats AS jsonb))
ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, host = excluded.host, pid = excluded.pid,
    version = excluded.version, state = excluded.state, details = excluded.details, stats = excluded.stats,
    started_at = CASE WHEN (p.host, p.pid) = (excluded.host, excluded.pid) THEN p.started_at ELSE now() END,
    seen_at = now()
WHERE (p.host, p.pid) = (excluded.host, excluded.pid) OR p.seen_at < now() - make_interval(secs => :stale)
""")
_FORGET = sa.text("DELETE FROM processes WHERE name = ANY(:names) AND host = :host AND pid = :pid")
_OWNER = sa.text("""
SELECT host, pid FROM processes WHERE name = :name AND seen_at >= now() - make_interval(secs => :stale)
""")
_PRUNE = sa.text("DELETE FROM processes WHERE seen_at < now() - :kept")
_READ = sa.text("""
SELECT name, kind, host, pid, version, state, details, stats, started_at, seen_at,
       greatest(extract(epoch FROM clock_timestamp() - seen_at), 0)::float8 AS seen_ago
FROM processes ORDER BY kind DESC, name
""")


@dataclass(frozen=True)
class Process:
    """A row of ``processes``: ``kind`` is worker, beat or web; ``seen_ago`` in seconds by the database's clock."""

    name: str
    kind: str
    host: str
    pid: int
    version: str
    state: str
    details: dict[str, Any]
    stats: dict[str, Any]
    started_at: datetime.datetime
    seen_at: datetime.datetime
    seen_ago: float

    @property
    def is_alive(self) -> bool:
        """Whether it was heard of lately."""
        return self.seen_ago < silence()


def silence() -> float:
    """Seconds without a word after which a process is taken for gone."""
    return 3 * get_settings().heartbeat_seconds + 1


def _is_taken(connection: sa.Connection, name: str) -> bool:
    """Whether another living process has the name; the row of one that died on this machine is taken away."""
    row = connection.execute(_OWNER, {"name": name, "stale": silence()}).one_or_none()
    if row is None:
        return False
    if row.host == socket.gethostname() and not psutil.pid_exists(row.pid):
        connection.execute(_FORGET, {"names": [name], "host": row.host, "pid": row.pid})
        return False
    return True


@dataclass
class Presence:
    """This process's own row."""

    name: str
    kind: str
    details: dict[str, Any] = field(default_factory=dict)
    _is_second: bool = False

    def say(self, state: str, stats: dict[str, Any]) -> None:
        """Say that this process lives, and what it has done so far. Raises ClusterUnusable."""
        values = {
            **self._identity(),
            "kind": self.kind,
            "version": nexusflow.__version__,
            "state": state,
            "details": orjson.dumps(self.details).decode(),
            "stats": orjson.dumps(stats).decode(),
            "stale": silence(),
        }
        with control_session() as connection:
            if self._is_second and not _is_taken(connection, self.name):
                connection.execute(_FORGET, {**self._identity(), "names": [self._second_name()]})
                self._is_second = False
            if not self._is_second and not connection.execute(_SAY, {**values, "name": self.name}).rowcount:
                self._is_second = _is_taken(connection, self.name)
                if not self._is_second:
                    connection.execute(_SAY, {**values, "name": self.name})
            if self._is_second:
                connection.execute(_SAY, {**values, "name": self._second_name()})

    def forget(self) -> None:
        """Take the row away. Raises ClusterUnusable."""
        with control_session() as connection:
            connection.execute(_FORGET, {**self._identity(), "names": [self.name, self._second_name()]})

    def _second_name(self) -> str:
        return f"{self.name} ({os.getpid()})"

    def _identity(self) -> dict[str, Any]:
        return {"host": socket.gethostname(), "pid": os.getpid()}


class PassingPresence:
    """The row of a process that does its work in passes: said after a pass, so that one that hangs falls silent."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._next = self._next_pruning = 0.0

    def passed(self) -> None:
        """A pass is done. Raises ClusterUnusable."""
        now = time.monotonic()
        if now >= self._next:
            self._presence.say("running", grouped(read_counts()))
            self._next = now + get_settings().heartbeat_seconds
        if now >= self._next_pruning:
            prune_processes()
            self._next_pruning = now + PRUNING_SECONDS

    def forget(self) -> None:
        """Take the row away; a database that is away keeps it."""
        with contextlib.suppress(ClusterUnusable):
            self._presence.forget()


def grouped(counts: dict[str, int]) -> dict[str, Any]:
    """Counters by their names' first word, as the row holds them: ``segments.workflow`` is in ``segments``."""
    stats: dict[str, Any] = {}
    for name, number in counts.items():
        group, _, label = name.partition(".")
        if label:
            stats.setdefault(group, {})[label] = number
        else:
            stats[group] = number
    return stats


def read_processes() -> list[Process]:
    """Every process that has a row, also those that are no longer heard of. Raises ClusterUnusable."""
    with control_session() as connection:
        return [Process(**row._mapping) for row in connection.execute(_READ)]


def prune_processes() -> int:
    """Remove the rows of what ended long ago without a word; gives how many. Raises ClusterUnusable."""
    with control_session() as connection:
        return connection.execute(_PRUNE, {"kept": KEPT}).rowcount
