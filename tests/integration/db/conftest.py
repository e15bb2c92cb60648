"""Databases on the machine's PostgreSQL and on the embedded one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import psycopg
import pytest

from tests.integration.db.rows import fill
from tests.servers.databases import Database, make_database
from tests.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from tests.servers.pool import ServerPool


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL that an embedded cluster runs."""
    from nexusflow.embedded.home import Home
    from nexusflow.embedded.places import find_places
    from tests.servers.guardian import guardian

    server = PostgresServer(find_places(Home(guardian.folder("home"))).programs)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["system", "embedded"])
def filled(request: pytest.FixtureRequest, server_pool: "ServerPool") -> Iterator[Database]:
    """A database with a row of each of two tenants in every table."""
    if request.param == "system":
        server = cast("PostgresServer", server_pool.get("postgres"))
    else:
        server = request.getfixturevalue("embedded_postgres")
    made = make_database(server)
    with psycopg.connect(made.owner_url) as connection:
        for tenant in (made.tenant_a, made.tenant_b):
            fill(connection, tenant)
    yield made
    server.drop_database(made.name)
