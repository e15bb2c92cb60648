"""Clusters for the tests of the engine that harm them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.integration.cluster import Cluster
from tests.servers.databases import make_database

if TYPE_CHECKING:
    from tests.servers.pool import ServerPool
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer

QUICK = {"lease_seconds": 2.0, "heartbeat_seconds": 0.4, "sweep_seconds": 0.2, "hint_seconds": 1.0}


@pytest.fixture
def make_cluster(server_pool: "ServerPool") -> Iterator[Callable[..., Cluster]]:
    """Make clusters for tests that harm them: a database and a broker of their own, short leases; nothing runs yet."""
    made: list[Cluster] = []

    def make(**changes: Any) -> Cluster:
        postgres = cast("PostgresServer", server_pool.get("postgres", ["valkey"]))
        valkey = cast("RedisServer", server_pool.get("valkey"))
        valkey.flush()
        made.append(Cluster(make_database(postgres), valkey.url, QUICK | changes))
        return made[-1]

    yield make
    for each in made:
        each.stop()
