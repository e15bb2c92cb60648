"""Every 202 ends in exactly one finished run, whatever is stopped, killed and restarted meanwhile."""

import http.client
import itertools
import json
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from nexusflow.auth.keys import create_key
from nexusflow.db.session import tenant_session
from nexusflow.queues import QUEUES
from nexusflow.workflows.saved.library import create_workflow
from tests.integration.cluster import HEAD, Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import transform
from tests.servers.databases import make_database
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.server import free_port

RUNS = 2_000
CLIENTS = 8
SECONDS = 12.0
"""How long the clients take at least, so that what happens meanwhile happens in the middle."""
QUICK = {"lease_seconds": 3.0, "heartbeat_seconds": 0.5, "sweep_seconds": 0.3, "hint_seconds": 2.0}


@pytest.fixture
def broker() -> Iterator[RabbitMQServer]:
    mine = RabbitMQServer()
    mine.start()
    yield mine
    mine.kill()


class Clients:
    """Start runs over HTTP until enough are accepted. Those with a key are tried again until they are."""

    def __init__(self, port: int, secret: str, workflow: str) -> None:
        self._port, self._path = port, f"/v2/workflows/{workflow}/run"
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        self._numbers = itertools.count()
        self.accepted: dict[int, set[str]] = defaultdict(set)
        self.refusals: list[str] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive()

    @property
    def count(self) -> int:
        return len(self.accepted)

    def _work(self) -> None:
        while (number := next(self._numbers)) < RUNS * 2 and self.count < RUNS:
            has_key = number % 2 == 0
            while not self._post(number, has_key=has_key) and has_key:
                time.sleep(0.1)
            time.sleep(max(0.0, self._began + SECONDS * number / RUNS - time.monotonic()))

    def _post(self, number: int, *, has_key: bool) -> bool:
        key = {"Idempotency-Key": f"order-{number}"} if has_key else {}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("POST", self._path, json.dumps({"input": {"number": number}}), self._headers | key)
            answer = connection.getresponse()
            body = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return False  # the front end is away: nobody knows whether the run was accepted
        finally:
            connection.close()
        if answer.status != 202:
            self.refusals.append(f"{answer.status} {body}")
            return False
        self.accepted[number].add(body["data"]["id"])
        return True


def test_each_accepted_run_finishes_once(postgres: PostgresServer, broker: RabbitMQServer, vendor: Vendor) -> None:
    cluster = Cluster(make_database(postgres), broker.url, QUICK, broker_log=broker.log)
    call = vendor.step("call", "twice", body={"number": "${{ input.number }}", "answer": "${{ steps.twice.output }}"})
    steps = [transform("twice", given="${{ input.number }}", jq=". * 2"), call]
    port = free_port()
    try:
        with cluster.active():
            _, secret = create_key(cluster.tenant, "clients")
            schema = {"type": "object", "properties": {"number": {"type": "integer"}}}
            definition = json.dumps({**HEAD, "input": {"schema": schema}, "steps": steps})
            workflow = create_workflow(cluster.tenant, definition.encode(), publish=True)
        for spec in QUEUES:
            cluster.worker(spec.name, [spec.name], concurrency=8)
        cluster.beat()
        cluster.web(port=port)
        cluster.wait_ready()
        time.sleep(2.5)  # a quorum queue declared in the moments before a kill does not survive it on RabbitMQ 3.10
        clients = Clients(port, secret, workflow.id)
        clients.start()
        _disturb(cluster, broker, clients)
        clients.join()
        runs = {run for found in clients.accepted.values() for run in found}
        assert len(runs) >= RUNS
        # What was accepted by a front end that died before it could say so is a run as well: it too comes to its end.
        cluster.until(lambda: _live(cluster) == 0, "all runs are over", 150)
    finally:
        cluster.stop()
    assert clients.refusals == []
    assert all(len(found) == 1 for found in clients.accepted.values())
    ends = _ends(cluster)
    assert {run: ends.get(run) for run in runs if ends.get(run) != ["run.succeeded"]} == {}
    calls = [call for call in vendor.calls if isinstance(call.body, dict) and "number" in call.body]
    effects: dict[int, set[str]] = defaultdict(set)
    for each in calls:
        effects[each.body["number"]].add(each.key)
    assert {key.partition("/")[0] for keys in effects.values() for key in keys} >= runs
    assert {number: keys for number, keys in effects.items() if len(keys) > 1} == {}


def _disturb(cluster: Cluster, broker: RabbitMQServer, clients: Clients) -> None:
    """Stop and start the broker; kill each kind of process; restart the front end, once by a kill, once politely."""

    def at(share: float) -> None:
        cluster.until(lambda: clients.count >= share * RUNS, f"{share:.0%} are accepted", 60)

    at(0.1)
    broker.kill()
    at(0.3)
    _restart(cluster, "web", signal.SIGKILL)
    at(0.5)
    _restart(cluster, "integration", signal.SIGKILL)
    broker.start()
    at(0.6)
    _restart(cluster, "workflow", signal.SIGKILL)
    at(0.7)
    _restart(cluster, "web", signal.SIGTERM)
    at(0.8)
    _restart(cluster, "beat", signal.SIGKILL)
    _restart(cluster, "integration", signal.SIGKILL)


def _restart(cluster: Cluster, name: str, number: signal.Signals) -> None:
    process = cluster.processes[name]
    process.signal(number)
    assert process.process is not None
    process.process.wait(30)
    process.start()


def _live(cluster: Cluster) -> Any:
    time.sleep(0.2)
    with cluster.active(), tenant_session(cluster.tenant) as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM runs WHERE finished_at IS NULL"))


def _ends(cluster: Cluster) -> dict[str, list[str]]:
    """The types of the events that end a run, by run."""
    query = "SELECT run_id, type FROM run_events WHERE type IN ('run.succeeded', 'run.failed', 'run.cancelled')"
    found: dict[str, list[str]] = defaultdict(list)
    with cluster.active(), tenant_session(cluster.tenant) as connection:
        for run, kind in connection.execute(sa.text(query)):
            found[str(run)].append(kind)
    return found
