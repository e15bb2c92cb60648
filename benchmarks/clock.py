"""A schedule of one second under two beats, one of which is killed again and again: ``make clock`` (``MINUTES=5``).

Each tick must be there once, on time, with one run of its own that ended well. Ends with 1 where anything is not so.
``build/reports/clock.json`` gets the figures.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import cast

from nexusflow.queues import QUEUES
from tests.integration.cluster import Cluster
from tests.integration.timekeeping import keep_time, kill
from tests.servers.databases import make_database
from tests.servers.pool import ServerPool
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer

REPORT = Path("build/reports/clock.json")
BEATS = ("beat-1", "beat-2")
SHOWN = 20


def disturb(cluster: Cluster, seconds: float) -> int:
    """Kill one of the beats and start it again, at random moments; gives how often."""
    chance, until, kills = random.Random(1), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        time.sleep(chance.uniform(2, 8))
        name = chance.choice(BEATS)
        kill(cluster, name)
        kills += 1
        time.sleep(chance.uniform(0, 4))
        cluster.beat(name)
    return kills


def main() -> int:
    """Start a cluster, disturb it, say what the rows say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    seconds = parser.parse_args().minutes * 60
    pool = ServerPool()
    try:
        postgres, rabbitmq = cast(PostgresServer, pool.get("postgres", ["rabbitmq"])), pool.get("rabbitmq")
        cluster = Cluster(make_database(postgres), cast(RabbitMQServer, rabbitmq).fresh_url())
        for spec in QUEUES:
            cluster.worker(spec.name, [spec.name], pool=spec.pool, concurrency=spec.concurrency)
        for name in BEATS:
            cluster.beat(name)
        cluster.wait_ready()
        kills: list[int] = []
        try:
            record = keep_time(cluster, lambda: kills.append(disturb(cluster, seconds)))
        finally:
            cluster.stop()
    finally:
        pool.close()
    faults = record.faults()
    figures = {
        "ticks expected": len(record.expected),
        "ticks made": len(record.ticks),
        "runs": len(record.runs),
        "kills": kills[0],
        "faults": len(faults),
        "seconds late, half": round(record.late(0.5), 3),
        "seconds late, 99 %": round(record.late(0.99), 3),
        "seconds late, at most": round(record.late(1.0), 3),
    }
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(figures | {"list": faults}, indent=2) + "\n")
    for name, figure in figures.items():
        sys.stdout.write(f"{name:>24}: {figure}\n")
    sys.stdout.write("".join(f"{fault}\n" for fault in faults[:SHOWN]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
