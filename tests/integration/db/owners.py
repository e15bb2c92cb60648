"""Databases whose owner is no superuser: the policies bind it, as on a managed server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from pydantic import SecretStr

from nexusflow.db.provision import CONTROL_ROLE, RUNTIME_ROLE, provision
from nexusflow.db.session import control_engine, runtime_engine
from nexusflow.settings import Settings, use_settings
from tests.servers.databases import CONTROL_PASSWORD, RUNTIME_PASSWORD, TENANT_A, TENANT_B, Database, make_database
from tests.servers.postgres import PostgresServer

_active: list[Settings] = []
OWNER, OWNER_PASSWORD = "plain_owner", "owner-password"


def empty_database(server: PostgresServer) -> Database:
    """A database without a schema, whose owner is no superuser."""
    server.drop_database(make_database(server).name)  # the two roles are there now
    name = f"owned_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone() is None:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{OWNER_PASSWORD}'")
            connection.execute(f"GRANT {RUNTIME_ROLE}, {CONTROL_ROLE} TO {OWNER} WITH ADMIN OPTION")
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    return Database(
        name,
        server,
        server.url_of(name, OWNER, OWNER_PASSWORD),
        server.url_of(name, RUNTIME_ROLE, RUNTIME_PASSWORD),
        server.url_of(name, CONTROL_ROLE, CONTROL_PASSWORD),
    )


def owned_database(server: PostgresServer) -> Database:
    """The same with the newest schema and the two tenants."""
    made = empty_database(server)
    provision(made.owner_url, RUNTIME_PASSWORD, CONTROL_PASSWORD)
    add_tenants(made)
    return made


def add_tenants(database: Database) -> None:
    """The two tenants; the control role adds them, for the owner may not."""
    with psycopg.connect(database.control_url) as connection:
        for tenant, name in ((TENANT_A, "tenant-a"), (TENANT_B, "tenant-b")):
            connection.execute("INSERT INTO tenants (id, name) VALUES (%s, %s)", (tenant, name))


@contextmanager
def settings_of(database: Database, **changes: object) -> Iterator[None]:
    """This process's settings are this database's."""
    urls = {
        "database_url": SecretStr(database.runtime_url),
        "control_database_url": SecretStr(database.control_url),
        "owner_database_url": SecretStr(database.owner_url),
    }
    _active.append(Settings.model_validate(urls | changes))
    use_settings(_active[-1])
    try:
        yield
    finally:
        runtime_engine().dispose()
        control_engine().dispose()
        _active.pop()
        use_settings(_active[-1] if _active else None)
