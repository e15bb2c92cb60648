"""Clusters of these tests' own on RabbitMQ, and commands as an operator types them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.integration.cluster import Cluster
from tests.integration.conftest import QUICK
from tests.integration.workers.operator import Operator
from tests.servers.databases import make_database

if TYPE_CHECKING:
    from tests.servers.pool import ServerPool
    from tests.servers.postgres import PostgresServer
    from tests.servers.rabbitmq import RabbitMQServer


@pytest.fixture
def make_operator(server_pool: "ServerPool") -> Iterator[Callable[..., Operator]]:
    """Make operators of clusters of their own, on RabbitMQ unless a broker is named; nothing runs yet."""
    made: list[Operator] = []

    def make(broker: str = "", **changes: Any) -> Operator:
        postgres = cast("PostgresServer", server_pool.get("postgres", ["rabbitmq"]))
        if not broker:
            rabbitmq = cast("RabbitMQServer", server_pool.get("rabbitmq"))
            broker = rabbitmq.fresh_url()
        made.append(Operator(Cluster(make_database(postgres), broker, QUICK | changes)))
        return made[-1]

    yield make
    for each in made:
        each.stop()
