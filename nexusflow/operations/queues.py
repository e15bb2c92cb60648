"""The queues as their rows and the broker show them. The rows are the truth: a broker's queue holds only hints."""

from dataclasses import dataclass

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.operations.broker import Look, look_within
from nexusflow.queues import QUEUE_NAMES
from nexusflow.workers.processes import Process, read_processes

COUNTED = 100_000
"""Rows of each kind that are counted at most: a look at the queues stays cheap with a million timers."""

# Each part reads one partial index, oldest first, and no more than the limit of it.
_ROWS = sa.text("""
WITH due AS (SELECT queue, due_at FROM segments WHERE state = 'ready' AND published_at IS NULL AND due_at <= now()
             ORDER BY due_at LIMIT :counted),
later AS (SELECT queue FROM segments WHERE state = 'ready' AND published_at IS NULL AND due_at > now()
          ORDER BY due_at LIMIT :counted),
hinted AS (SELECT queue, due_at FROM segments WHERE state = 'ready' AND published_at IS NOT NULL
           ORDER BY published_at LIMIT :counted),
held AS (SELECT queue FROM segments WHERE state = 'leased' LIMIT :counted),
waits AS (SELECT * FROM due UNION ALL SELECT * FROM hinted)
SELECT queue, 'ready' AS kind, count(*) AS rows,
       greatest(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest FROM waits GROUP BY queue
UNION ALL SELECT queue, 'leased', count(*), NULL FROM held GROUP BY queue
UNION ALL SELECT queue, 'waiting', count(*), NULL FROM later GROUP BY queue
""")


@dataclass(frozen=True)
class QueueRows:
    """One queue's live segments: ready for a worker, leased by one, waiting until they are due.

    ``oldest``: seconds that the first of the ready ones has been due, None where none is.
    Counts stop at ``COUNTED``.
    """

    ready: int = 0
    leased: int = 0
    waiting: int = 0
    oldest: float | None = None


@dataclass(frozen=True)
class QueueState:
    """One queue: its rows, what the broker says (None where it does not), who serves it and how fast."""

    name: str
    rows: QueueRows
    messages: int | None
    consumers: int | None
    dead: int | None
    workers: int
    done_per_second: float


@dataclass(frozen=True)
class QueuesState:
    """All queues; ``complaint`` says why the broker's numbers are missing."""

    queues: list[QueueState]
    complaint: str
    has_dead_letters: bool


def read_rows() -> dict[str, QueueRows]:
    """Each queue's live segments. Raises ClusterUnusable."""
    with control_session() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = '5s'"))
        found = connection.execute(_ROWS, {"counted": COUNTED}).all()
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, float] = {}
    for queue, kind, rows, age in found:
        counts.setdefault(queue, {})[kind] = rows
        if age is not None:
            oldest[queue] = age
    names = [*QUEUE_NAMES, *sorted(set(counts) - set(QUEUE_NAMES))]
    return {name: QueueRows(**counts.get(name, {}), oldest=oldest.get(name)) for name in names}


def read_queues(patience: float = 3.0) -> QueuesState:
    """The queues now; the broker is waited for ``patience`` seconds at most. Raises ClusterUnusable."""
    rows, processes, look = read_rows(), read_processes(), look_within(patience)
    return QueuesState(
        [_state(name, counted, processes, look) for name, counted in rows.items()],
        look.complaint,
        look.has_dead_letters,
    )


def _state(name: str, rows: QueueRows, processes: list[Process], look: Look) -> QueueState:
    depth = look.depths.get(name)
    known = [each for each in processes if each.is_alive and name in each.details.get("queues", ())]
    serving = [each for each in known if each.state == "running"]
    rate = sum(float(each.stats.get("per_second", {}).get(name, 0.0)) for each in known)
    return QueueState(
        name,
        rows,
        depth.messages if depth else None,
        depth.consumers if depth else None,
        depth.dead if depth else None,
        len(serving),
        round(rate, 2),
    )
