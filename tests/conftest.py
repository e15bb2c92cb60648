"""Fixtures for all tests: private servers on free ports, and migrated databases on them."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from tests.integration.cluster import Cluster
    from tests.integration.vendor import Vendor
    from tests.servers.databases import Database
    from tests.servers.pool import ServerPool
    from tests.servers.postgres import PostgresServer
    from tests.servers.rabbitmq import RabbitMQServer
    from tests.servers.redis import RedisServer


def pytest_configure() -> None:
    """Keep the settings of the person's own environment out of the tests."""
    for name in [name for name in os.environ if name.startswith("NEXUSFLOW_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def server_pool() -> Iterator["ServerPool"]:
    """The session's private servers; none runs before it is asked for."""
    from tests.servers.pool import ServerPool

    pool = ServerPool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def needed_servers(request: pytest.FixtureRequest) -> frozenset[str]:
    """The fixtures that the collected tests use, so that their servers can start side by side."""
    return frozenset(
        name for item in request.session.items if isinstance(item, pytest.Function) for name in item.fixturenames
    )


@pytest.fixture
def postgres(server_pool: "ServerPool", needed_servers: frozenset[str]) -> "PostgresServer":
    """The machine's PostgreSQL, private: started again if an earlier test killed it."""
    return cast("PostgresServer", server_pool.get("postgres", needed_servers))


@pytest.fixture
def rabbitmq(server_pool: "ServerPool", needed_servers: frozenset[str]) -> "RabbitMQServer":
    """The machine's RabbitMQ, private: started again if an earlier test killed it."""
    return cast("RabbitMQServer", server_pool.get("rabbitmq", needed_servers))


@pytest.fixture
def redis(server_pool: "ServerPool", needed_servers: frozenset[str]) -> "RedisServer":
    """The machine's Redis or Valkey, private: started again if an earlier test killed it."""
    return cast("RedisServer", server_pool.get("redis", needed_servers))


@pytest.fixture
def valkey(server_pool: "ServerPool", needed_servers: frozenset[str]) -> "RedisServer":
    """The Valkey that the embedded cluster uses, private: started again if an earlier test killed it."""
    return cast("RedisServer", server_pool.get("valkey", needed_servers))


@pytest.fixture(scope="module")
def database(server_pool: "ServerPool", needed_servers: frozenset[str]) -> Iterator["Database"]:
    """A migrated database of this module's own, with two tenants."""
    from nexusflow.db.session import close_connections
    from tests.servers.databases import make_database

    server = cast("PostgresServer", server_pool.get("postgres", needed_servers))
    made = make_database(server)
    yield made
    close_connections()
    if server.is_running:
        server.drop_database(made.name)


@pytest.fixture(scope="session")
def cluster(server_pool: "ServerPool") -> Iterator["Cluster"]:
    """One worker for the three queues, and beat, on RabbitMQ: for the tests that harm nothing."""
    from tests.integration.cluster import Cluster
    from tests.servers.databases import make_database

    postgres = cast("PostgresServer", server_pool.get("postgres", ["rabbitmq"]))
    rabbitmq = cast("RabbitMQServer", server_pool.get("rabbitmq"))
    made = Cluster(make_database(postgres), rabbitmq.fresh_url(), {"sweep_seconds": 0.2}, broker_log=rabbitmq.log)
    made.worker()
    made.beat()
    try:
        yield made.wait_ready()
    finally:
        made.stop()


@pytest.fixture(scope="session")
def vendor() -> Iterator["Vendor"]:
    """A vendor that does what requests say, and counts."""
    from tests.integration.vendor import running_vendor

    with running_vendor() as made:
        yield made
