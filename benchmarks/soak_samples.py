"""What the soak watches while it goes on: memory, connections, open files, queues; and whether any of it grows."""

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import psycopg

MEBIBYTE = 1024 * 1024
WARM_UP = 0.15
"""The share of the samples that is left out: pools fill, caches grow to their bounds."""

QUEUES = """
SELECT count(*) FILTER (WHERE state = 'ready' AND due_at <= now()),
       count(*) FILTER (WHERE state = 'leased'),
       coalesce(extract(epoch FROM max(now() - due_at) FILTER (WHERE state = 'ready' AND due_at <= now())), 0)::float8
FROM segments
"""
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


@dataclass(frozen=True)
class Sample:
    """One look: bytes are PSS in MiB, ages seconds."""

    at: float
    memory: dict[str, float]
    files: dict[str, int]
    connections: int
    ready: int
    leased: int
    oldest: float

    def figures(self) -> dict[str, float]:
        """What must not grow, by name."""
        named = {f"memory of {name}, MiB": value for name, value in self.memory.items()}
        named |= {f"open files of {name}": float(value) for name, value in self.files.items()}
        return named | {
            "database connections": float(self.connections),
            "oldest ready work, s": self.oldest,
            "ready pieces of work": float(self.ready),
        }


def take(began: float, pids: dict[str, int], owner_url: str) -> Sample:
    """Look at the processes (with their children) and the database."""
    memory, files = {}, {}
    for name, pid in pids.items():
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        memory[name] = sum(_pss(each) for each in family) / MEBIBYTE
        files[name] = sum(_files(each) for each in family)
    with psycopg.connect(owner_url) as connection:
        ready, leased, oldest = connection.execute(QUEUES).fetchone() or (0, 0, 0.0)
        (connections,) = connection.execute(CONNECTIONS).fetchone() or (0,)
    return Sample(time.monotonic() - began, memory, files, connections - 1, ready, leased, oldest)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _files(process: psutil.Process) -> int:
    try:
        return int(process.num_fds())
    except psutil.Error:
        return 0


@dataclass(frozen=True)
class Trend:
    """A figure over the soak: medians of its first and last quarter after the warm-up, and the largest value."""

    name: str
    first: float
    last: float
    most: float

    @property
    def growth(self) -> float:
        """By which share the last quarter is over the first."""
        return (self.last - self.first) / self.first if self.first else 0.0


def trends(samples: list[Sample]) -> list[Trend]:
    """One trend a figure."""
    kept = samples[int(len(samples) * WARM_UP) :]
    quarter = max(1, len(kept) // 4)
    rows = [sample.figures() for sample in kept]
    return [
        Trend(
            name,
            statistics.median(row[name] for row in rows[:quarter]),
            statistics.median(row[name] for row in rows[-quarter:]),
            max(row[name] for row in rows),
        )
        for name in rows[0]
    ]


def as_json(samples: list[Sample]) -> list[dict[str, Any]]:
    """The samples, for a report."""
    return [asdict(sample) for sample in samples]
