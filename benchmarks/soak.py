"""Hours of mixed load at half of the machine's capacity: does anything grow? ``python -m benchmarks.soak --minutes 60``

It starts private servers and the processes of a cluster, finds out what the machine can do, then offers half of it over
HTTP and looks at memory, connections, open files and queues. ``build/reports/soak.json`` gets all samples.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, cast

import psycopg

from benchmarks.soak_load import Client, Load, Readers, definitions
from benchmarks.soak_samples import Sample, Trend, as_json, take, trends
from nexusflow.auth.keys import create_key
from nexusflow.queues import QUEUES
from tests.integration.cluster import Cluster
from tests.integration.vendor import running_vendor
from tests.servers.databases import make_database
from tests.servers.pool import ServerPool
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.server import free_port

REPORT = Path("build/reports/soak.json")
PROBE_SECONDS = 60.0
PROBE_LIVE = 200
SAMPLE_SECONDS = 10.0
DRAIN_SECONDS = 120.0
GROWTH = 0.05
"""A figure that ends more than this share higher than it began has grown; counts get a few units besides."""
SLACK = {"memory": 8.0, "open": 16.0, "database": 4.0, "oldest": 0.5, "ready": 10.0}
LIVE = "SELECT count(*) FROM runs WHERE finished_at IS NULL"
ENDS = "SELECT status, count(*) FROM runs GROUP BY status"


class Soak:
    """One soak on its own servers."""

    def __init__(self, pool: ServerPool, vendor: str) -> None:
        postgres = cast(PostgresServer, pool.get("postgres", ["rabbitmq", "redis"]))
        rabbitmq, redis = cast(RabbitMQServer, pool.get("rabbitmq")), cast(RedisServer, pool.get("redis"))
        self.database = make_database(postgres)
        self.cluster = Cluster(self.database, rabbitmq.fresh_url(), {"redis_url": redis.url})
        self.port = free_port()
        for spec in QUEUES:
            self.cluster.worker(spec.name, [spec.name], pool=spec.pool, concurrency=spec.concurrency)
        self.cluster.beat()
        self.cluster.web(port=self.port)
        self.cluster.wait_ready()
        with self.cluster.active():
            _, self.secret = create_key(self.cluster.tenant, "soak")
        self.workflows = self._save(definitions(vendor))

    def _save(self, made: dict[str, dict[str, Any]]) -> dict[str, str]:
        client, saved = Client(self.port, self.secret), {}
        for kind, definition in made.items():
            body = {"definition": definition, "publish": True}
            status, answer = client.ask("POST", "/v2/workflows", body)
            if status != 201:
                raise RuntimeError(f"{kind} was not saved: {status} {answer}")
            saved[kind] = answer["data"]["id"]
        return saved

    def capacity(self) -> float:
        """Runs a second that are finished while clients keep ``PROBE_LIVE`` of them going."""
        load = Load(self.port, self.secret, self.workflows, name="probe")
        began = time.monotonic()
        load.start()
        with psycopg.connect(self.database.owner_url, autocommit=True) as connection:
            while time.monotonic() - began < PROBE_SECONDS:
                (live,) = connection.execute(LIVE).fetchone() or (0,)
                (load.is_open.set if live < PROBE_LIVE else load.is_open.clear)()
                time.sleep(0.05)
        load.stop()
        self.drain()
        return sum(load.accepted.values()) / (time.monotonic() - began)

    def drain(self) -> None:
        """Wait until hardly a run lives (the ticking schedule starts one each second)."""
        with psycopg.connect(self.database.owner_url, autocommit=True) as connection:
            until = time.monotonic() + DRAIN_SECONDS * 5
            while time.monotonic() < until:
                (live,) = connection.execute(LIVE).fetchone() or (0,)
                if live <= 3:
                    return
                time.sleep(0.5)
        raise RuntimeError("the runs did not end")

    def soak(self, minutes: float, rate: float) -> tuple[list[Sample], Load, Readers]:
        """Offer ``rate`` runs a second for ``minutes`` and look on."""
        pids = {name: each.process.pid for name, each in self.cluster.processes.items() if each.process}
        load, readers = Load(self.port, self.secret, self.workflows, rate=rate), Readers(self.port, self.secret)
        began, samples = time.monotonic(), []
        load.start()
        readers.start()
        try:
            while time.monotonic() - began < minutes * 60:
                time.sleep(SAMPLE_SECONDS)
                samples.append(take(began, pids, self.database.owner_url))
                sys.stderr.write(f"\r{samples[-1].at / 60:5.1f} min, {sum(load.accepted.values()):,} runs accepted ")
        finally:
            load.stop()
            readers.stop()
        self.drain()
        return samples, load, readers

    def ends(self) -> dict[str, int]:
        """How many runs ended how."""
        with psycopg.connect(self.database.owner_url) as connection:
            return dict(connection.execute(ENDS).fetchall())


def grown(trend: Trend) -> bool:
    """Whether the figure grew by more than noise does."""
    slack = SLACK[trend.name.partition(" ")[0]]
    return trend.last - trend.first > max(slack, GROWTH * trend.first)


def main() -> int:
    """Soak, print a table, write the report; 1 when something grew or was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, help="runs a second; default: half of what the machine can do")
    options = parser.parse_args()
    pool = ServerPool()
    try:
        with running_vendor() as vendor:
            soak = Soak(pool, vendor.url)
            try:
                capacity = soak.capacity() if options.rate is None else 2 * options.rate
                samples, load, readers = soak.soak(options.minutes, options.rate or capacity / 2)
                ends = soak.ends()
            finally:
                soak.cluster.stop()
    finally:
        pool.close()
    found = trends(samples)
    _tell(capacity, load, readers, ends, found)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    summary = {"machine": platform.platform(), "capacity": capacity, "ends": ends, "errors": load.errors[:100]}
    REPORT.write_text(json.dumps(summary | {"samples": as_json(samples)}))
    return int(any(map(grown, found)) or bool(load.errors) or bool(readers.errors))


def _tell(capacity: float, load: Load, readers: Readers, ends: dict[str, int], found: list[Trend]) -> None:
    late = statistics.quantiles(load.latencies, n=20)[-1] * 1000 if len(load.latencies) > 1 else 0.0
    print(f"\ncapacity {capacity:.1f} runs/s; offered half of it: {sum(load.accepted.values()):,} runs accepted,")
    print(f"start p50 {statistics.median(load.latencies) * 1000:.0f} ms, p95 {late:.0f} ms; ends: {ends}")
    print(
        f"refused or broken: {len(load.errors)} {load.errors[:3]}; readers: {dict(readers.seen)} {readers.errors[:3]}\n"
    )
    print("| figure | first quarter | last quarter | growth | largest | |\n|---|---|---|---|---|---|")
    for trend in found:
        growth = f"{trend.growth:+.1%}" if trend.first else "–"
        verdict = "grew" if grown(trend) else "steady"
        print(f"| {trend.name} | {trend.first:.1f} | {trend.last:.1f} | {growth} | {trend.most:.1f} | {verdict} |")


if __name__ == "__main__":
    sys.exit(main())
