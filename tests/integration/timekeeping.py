"""A second's schedule under beats that come and go, and what its rows say; ``benchmarks/clock.py`` uses it too."""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from nexusflow.workflows.saved.library import archive_workflow, create_workflow
from tests.integration.cluster import Cluster

SECOND = timedelta(seconds=1)
STEPS = [{"id": "only", "type": "transform", "with": {"jq": "1"}}]
TICKS = """
SELECT t.at, t.state, t.run_id, r.status, extract(epoch FROM r.accepted_at - t.at)::float8 AS late,
       extract(epoch FROM r.started_at - t.at)::float8 AS begun
FROM ticks t LEFT JOIN runs r ON r.id = t.run_id WHERE t.workflow_id = %(workflow)s ORDER BY t.at
"""
SETTLED = "SELECT 1 FROM ticks WHERE workflow_id = %(workflow)s AND state <> 'due'"
LIVE = "SELECT 1 FROM runs WHERE workflow_id = %(workflow)s AND finished_at IS NULL"


@dataclass(frozen=True)
class Record:
    """What the rows say: the times at which runs were due, the ticks that were made, and the runs there are."""

    expected: list[datetime]
    ticks: list[Any]
    runs: list[str]

    def faults(self) -> list[str]:
        """All that is not as it has to be: each expected tick once, with one run of its own that ended well."""
        times = [tick.at for tick in self.ticks]
        started = [str(tick.run_id) for tick in self.ticks if tick.run_id is not None]
        found = [f"missing: {at}" for at in sorted(set(self.expected) - set(times))]
        found += [f"not a time of the schedule: {at}" for at in times if (at - self.expected[0]) % SECOND]
        found += [f"twice: {at}" for at in set(times) if times.count(at) > 1]
        found += [
            f"{tick.at} is {tick.state}, its run {tick.status}" for tick in self.ticks if tick.status != "succeeded"
        ]
        found += [f"{tick.at} began {-tick.late} s early" for tick in self.ticks if tick.run_id and tick.late < 0]
        if sorted(started) != sorted(self.runs):
            found.append(f"{len(self.runs)} runs for {len(started)} started ticks")
        return found

    def late(self, share: float) -> float:
        """How many seconds after their time this share of the runs had been accepted, at the most."""
        seconds = sorted(tick.late for tick in self.ticks if tick.run_id)
        return float(seconds[min(int(share * len(seconds)), len(seconds) - 1)])


def keep_time(cluster: Cluster, meanwhile: Callable[[], None]) -> Record:
    """Publish a schedule of one second, do something meanwhile, end it, and read what it did.

    The cluster must have a worker, and a beat at the end of ``meanwhile``.
    """
    with cluster.active(), psycopg.connect(cluster.database.owner_url, autocommit=True) as rows:

        def ask(query: str) -> list[Any]:
            cursor = rows.cursor(row_factory=namedtuple_row)
            return cursor.execute(query.encode(), {"workflow": flow}).fetchall()

        triggers = [{"type": "schedule", "interval": "1s"}]
        text = json.dumps({"nexusflow": "1", "name": "second", "triggers": triggers, "steps": STEPS})
        flow = create_workflow(cluster.tenant, text.encode(), publish=True).id
        anchor = ask("SELECT anchor FROM schedules WHERE workflow_id = %(workflow)s")[0].anchor
        meanwhile()
        until = ask("SELECT now() AS now")[0].now
        expected = [anchor + each * SECOND for each in range(1, (until - anchor) // SECOND + 1)]
        cluster.until(lambda: len(ask(SETTLED)) >= len(expected), "the ticks are made", 20)
        archive_workflow(cluster.tenant, flow)
        cluster.until(lambda: not ask(LIVE), "the runs are over", 60)
        runs = ask("SELECT id FROM runs WHERE workflow_id = %(workflow)s")
        return Record(expected, ask(TICKS), [str(run.id) for run in runs])


def kill(cluster: Cluster, name: str) -> None:
    """SIGKILL a beat."""
    cluster.processes[name].signal(signal.SIGKILL)
    cluster.processes[name].kill()
