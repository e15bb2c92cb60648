"""One tenant floods the cluster, another starts a run a second: ``python -m benchmarks.fairness`` (``make fairness``).

Tenant A queues 10,000 runs of three steps at once; tenant B starts one each second while they are worked off, and
before that as many alone. What counts is the time from the acceptance of a run of B's to its first step. Ends with 1
where its 95th percentile is over two seconds, or a run of B's did not end. ``build/reports/fairness.json`` has them.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, cast

import psycopg

from nexusflow.queues import QUEUES
from nexusflow.workflows.starts import service, starting
from tests.integration.cluster import Cluster
from tests.integration.vendor import running_vendor
from tests.integration.workflows.steps import transform
from tests.servers.databases import make_database
from tests.servers.pool import ServerPool
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer

REPORT = Path("build/reports/fairness.json")
AIM_SECONDS = 2.0
BATCH = 1_000
DRAIN_SECONDS = 120.0
BEGUN = """
SELECT extract(epoch FROM started_at - accepted_at)::float8, finished_at IS NOT NULL FROM runs
WHERE id = ANY(%s::uuid[]) ORDER BY id
"""
LEFT = "SELECT count(*) FROM runs WHERE tenant_id = %s AND finished_at IS NULL"


class Fairness:
    """Two tenants on one cluster of its own."""

    def __init__(self, pool: ServerPool, vendor: Any) -> None:
        postgres = cast(PostgresServer, pool.get("postgres", ["rabbitmq"]))
        self.database = make_database(postgres)
        self.cluster = Cluster(self.database, cast(RabbitMQServer, pool.get("rabbitmq")).fresh_url())
        self.noisy, self.quiet = str(self.database.tenant_a), str(self.database.tenant_b)
        for spec in QUEUES:
            self.cluster.worker(spec.name, [spec.name], pool=spec.pool, concurrency=spec.concurrency)
        self.cluster.beat()
        self.cluster.wait_ready()
        steps = [transform("a", jq="1"), vendor.step("b", "a", body={"answer": 1}), transform("c", "b", jq="2")]
        text = json.dumps({"nexusflow": "1", "name": "case", "steps": steps}).encode()
        with self.cluster.active():
            self.versions = {tenant: service.save_version(tenant, text) for tenant in (self.noisy, self.quiet)}

    def start(self, tenant: str, number: int) -> list[str]:
        """Accept so many runs of a tenant's."""
        workflow = self.versions[tenant].workflow
        with self.cluster.active():
            return starting.start_runs(tenant, workflow, [{}] * number, batch=True).run_ids

    def left(self, tenant: str) -> int:
        """How many of a tenant's runs are not over."""
        with psycopg.connect(self.database.owner_url) as connection:
            (live,) = connection.execute(LEFT, (tenant,)).fetchone() or (0,)
        return int(live)

    def once_a_second(self, seconds: int) -> list[str]:
        """Start a run of the quiet tenant's each second."""
        runs, began = [], time.monotonic()
        for second in range(seconds):
            time.sleep(max(0.0, began + second - time.monotonic()))
            runs += self.start(self.quiet, 1)
        until = time.monotonic() + DRAIN_SECONDS
        while self.left(self.quiet) and time.monotonic() < until:
            time.sleep(0.2)
        return runs

    def begun(self, runs: list[str]) -> tuple[list[float], int]:
        """Seconds from acceptance to the first step, and how many runs are not over."""
        with psycopg.connect(self.database.owner_url) as connection:
            rows = connection.execute(BEGUN, (runs,)).fetchall()
        return [float(seconds) for seconds, _ in rows if seconds is not None], sum(not over for _, over in rows)


def percentile(values: list[float], share: float) -> float:
    """The value that so many are not above."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> int:
    """Measure alone, then under the flood; print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    pool = ServerPool()
    try:
        with running_vendor() as vendor:
            fairness = Fairness(pool, vendor)
            try:
                alone, _ = fairness.begun(fairness.once_a_second(options.seconds))
                for first in range(0, options.runs, BATCH):
                    fairness.start(fairness.noisy, min(BATCH, options.runs - first))
                flooded, lost = fairness.begun(fairness.once_a_second(options.seconds))
                behind = fairness.left(fairness.noisy)
            finally:
                fairness.cluster.stop()
    finally:
        pool.close()
    figures = {
        "flood, runs": options.runs,
        "of these still live at the end": behind,
        "B's runs": len(flooded),
        "B's runs that did not end": lost,
        "B's start alone, half, s": round(statistics.median(alone), 3),
        "B's start alone, 95 %, s": round(percentile(alone, 0.95), 3),
        "B's start in the flood, half, s": round(statistics.median(flooded), 3),
        "B's start in the flood, 95 %, s": round(percentile(flooded, 0.95), 3),
        "B's start in the flood, at most, s": round(max(flooded), 3),
    }
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(figures, indent=2) + "\n")
    for name, figure in figures.items():
        sys.stdout.write(f"{name:>36}: {figure}\n")
    return 1 if lost or percentile(flooded, 0.95) > AIM_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
