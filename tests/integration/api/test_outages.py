"""A broker, a cache, a database that are away: what still goes on, and how it comes back without a restart."""

import contextlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psutil
import pytest

from api.routes.health import KEPT_SECONDS
from nexusflow.embedded.broker import find_program
from tests.integration.api.front import Front, hello, key_of, web_of
from tests.integration.cluster import Cluster
from tests.servers.databases import make_database
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.server import HOST, Server, free_port


@pytest.fixture(scope="module")
def database_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cache() -> Iterator[RedisServer]:
    server = RedisServer(find_program())
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def alone(database_server: PostgresServer, cache: RedisServer) -> Iterator[Front]:
    """A front end with a database and a cache of its own, a broker that is not there, and no worker."""
    broker = f"amqp://guest:guest@{HOST}:{free_port()}//"
    cluster = Cluster(
        make_database(database_server), broker, {"redis_url": cache.url, "requests_per_minute": 1_000_000}
    )
    try:
        with web_of(cluster) as (url, promises), Front(url, key_of(cluster, cluster.tenant), promises) as front:
            yield front
    finally:
        database_server.start()
        cluster.stop()


@pytest.fixture(scope="module")
def workflow(alone: Front) -> str:
    return alone.create(hello("alone"))


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """A server that takes connections and answers nothing."""
    assert server.process is not None
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    for each in family:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in family:
            each.send_signal(signal.SIGCONT)


def quickly(front: Front, path: str, seconds: float = 1.0) -> httpx2.Response:
    began = time.monotonic()
    answer = front.ask("GET", path)
    assert time.monotonic() - began < seconds
    return answer


def test_without_a_broker_runs_are_accepted_a_thousand_at_once_too(alone: Front, workflow: str) -> None:
    run = alone.want(202, "POST", f"/v2/workflows/{workflow}/run?wait=0.2", {"input": {"who": "Ada"}})["id"]
    assert alone.get(f"/v2/runs/{run}")["status"] == "queued"
    inputs = [{"who": f"caller {number}"} for number in range(1000)]
    runs = alone.want(202, "POST", f"/v2/workflows/{workflow}/run:batch", {"inputs": inputs})
    assert len({each["id"] for each in runs}) == 1000
    assert alone.get(f"/v2/runs/{runs[999]['id']}")["input"] == inputs[999]
    assert alone.get("/readyz") | {"ready": True, "broker": "away"} == alone.get("/readyz")


def test_without_a_cache_requests_go_on_and_are_counted_still(alone: Front, cache: RedisServer) -> None:
    with stopped(cache):
        for _ in range(5):
            assert quickly(alone, "/v2/runs").headers["ratelimit-limit"] == "1000000"
    cache.kill()
    for _ in range(5):
        assert quickly(alone, "/v2/runs").status_code == 200
    cache.start()
    assert quickly(alone, "/v2/runs").status_code == 200


def test_without_a_database_everything_is_answered_at_once_and_comes_back(
    alone: Front, workflow: str, database_server: PostgresServer
) -> None:
    database_server.kill()
    time.sleep(KEPT_SECONDS)  # what a probe found last
    paths = ["/v2/runs", "/v2/workflows", f"/v2/workflows/{workflow}", "/readyz"] * 25
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda path: alone.ask("GET", path), paths))
    assert time.monotonic() - began < 5
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        error = answer.json()["error"]
        assert error["code"] == "CLUSTER_UNUSABLE"
        assert HOST not in error["message"]
    alone.refused(503, "CLUSTER_UNUSABLE", "POST", f"/v2/workflows/{workflow}/run", {})
    page = quickly(alone, "/")
    assert (page.status_code, page.headers["refresh"]) == (503, "2")
    assert "cannot be used at the moment" in page.text
    assert quickly(alone, "/healthz").status_code == 200
    assert "nexusflow_database_up 0.0" in quickly(alone, "/metrics", 3.0).text
    database_server.start()
    _comes_back(alone, workflow)


def test_a_database_that_hangs_holds_no_request_for_long_and_no_probe_at_all(
    alone: Front, workflow: str, database_server: PostgresServer
) -> None:
    with stopped(database_server), ThreadPoolExecutor(30) as pool:
        began = time.monotonic()
        page = pool.submit(alone.ask, "GET", "/")
        asked = [pool.submit(alone.ask, "GET", "/v2/runs") for _ in range(29)]
        time.sleep(0.5)
        assert quickly(alone, "/healthz").status_code == 200
        answers = [each.result() for each in asked]
        assert 5 < time.monotonic() - began < 12
        assert {answer.status_code for answer in answers} == {503}
        assert all(answer.headers["retry-after"] for answer in answers)
        assert (page.result().status_code, page.result().headers["refresh"]) == (503, "2"), "it tries again by itself"
        # All threads hang by now: nobody else is made to wait.
        assert quickly(alone, "/v2/runs").status_code == 503
        assert quickly(alone, "/readyz", 4.0).status_code == 503
        assert quickly(alone, "/healthz").status_code == 200
    _comes_back(alone, workflow)


def _comes_back(front: Front, workflow: str) -> None:
    deadline = time.monotonic() + 10
    while front.ask("GET", "/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(40):  # every thread and connection has had its turn
        front.get("/v2/runs")
        front.want(202, "POST", f"/v2/workflows/{workflow}/run", {"input": {"who": "Ada"}})
