"""A broker or a database that goes away under a run and comes back: the run ends right, each effect under one key."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from nexusflow.errors import ClusterUnusable
from nexusflow.queues import QUEUES
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform
from tests.servers.databases import make_database
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server

ITEMS = 40
AWAY_SECONDS = 3.0
SETTLED_SECONDS = 2.5  # a quorum queue declared in the moments before a kill does not survive it on RabbitMQ 3.10
QUICK = {"lease_seconds": 3.0, "heartbeat_seconds": 0.5, "sweep_seconds": 0.3, "hint_seconds": 2.0}


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Servers of a test's own, ended with it: others keep theirs."""
    mine: list[Server] = []
    yield mine
    for server in mine:
        server.stop(5)


def _start(cluster: Cluster) -> Cluster:
    for spec in QUEUES:
        cluster.worker(spec.name, [spec.name], concurrency=8)
    cluster.beat()
    return cluster.wait_ready()


def _steps(vendor: Vendor) -> list[dict[str, Any]]:
    put = vendor.step("put", body={"sleep": 0.3, "answer": "${{ item }}"})
    end = vendor.step("end", "count", body={})
    return [
        transform("numbers", jq=f"[range({ITEMS})]"),
        foreach("each", "${{ steps.numbers.output }}", put, needs="numbers"),
        transform("count", "each", jq="."),
        end,
    ]


def _outlives(cluster: Cluster, vendor: Vendor, server: Server) -> None:
    run = cluster.start(_steps(vendor))
    cluster.until(lambda: len(vendor.of(run)) >= 10, "the fan-out is under way")
    server.kill()
    time.sleep(AWAY_SECONDS)
    server.start()
    deadline = time.monotonic() + 60
    while True:
        try:
            record = cluster.finish(run, deadline - time.monotonic())
            break
        except ClusterUnusable:  # this process's pooled connections broke as well
            assert time.monotonic() < deadline
    assert record.status == "succeeded", record.error
    assert set(vendor.keys(run)) == {"end", *(f"each/put/{number}" for number in range(ITEMS))}
    assert record.live == 0


def test_a_broker_that_is_killed(postgres: PostgresServer, vendor: Vendor, servers: list[Server]) -> None:
    """On Redis a worker may end with its broker (its manager starts another): see the acceptance tests."""
    broker = RabbitMQServer()
    servers.append(broker)
    broker.start()
    cluster = Cluster(make_database(postgres), broker.url, QUICK, broker_log=broker.log)
    try:
        _start(cluster)
        time.sleep(SETTLED_SECONDS)
        _outlives(cluster, vendor, broker)
    finally:
        cluster.stop()


def test_a_database_that_is_killed(vendor: Vendor, servers: list[Server], valkey: RedisServer) -> None:
    postgres = PostgresServer()
    servers.append(postgres)
    postgres.start()
    valkey.flush()
    cluster = Cluster(make_database(postgres), valkey.url, QUICK)
    try:
        _outlives(_start(cluster), vendor, postgres)
    finally:
        cluster.stop()


def test_a_run_is_accepted_while_the_broker_is_away(
    postgres: PostgresServer, vendor: Vendor, servers: list[Server]
) -> None:
    broker = RedisServer()
    servers.append(broker)
    broker.start()
    cluster = Cluster(make_database(postgres), broker.url, QUICK)
    try:
        _start(cluster)
        broker.kill()
        run = cluster.start([vendor.step("only")])
        time.sleep(1.0)
        assert cluster.read(run).status == "queued"
        broker.start()
        assert cluster.finish(run, 30).status == "succeeded"
        assert vendor.keys(run) == {"only": 1}
    finally:
        cluster.stop()
