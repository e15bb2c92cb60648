"""Databases whose owner is no superuser: the policies bind it, as on a managed server.

It inherits nothing from the two roles that it may set passwords of, or their policies would be its own.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from pydantic import SecretStr

from nexusflow.db.provision import RUNTIME_ROLE, provision
from nexusflow.db.session import control_engine, runtime_engine
from nexusflow.settings import CONTROL_ROLE, Settings, use_settings
from tests.servers.databases import CONTROL_PASSWORD, RUNTIME_PASSWORD, TENANT_A, TENANT_B, Database, make_database
from tests.servers.postgres import PostgresServer

_active: list[Settings] = []
OWNER, OWNER_PASSWORD, _TEMPLATE = "plain_owner", "owner-password", "owned_template"


def empty_database(server: PostgresServer) -> Database:
    """A database without a schema, whose owner is no superuser."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        _ensure_owner(server, connection)
        return _create(server, connection, "template1")


def owned_database(server: PostgresServer) -> Database:
    """The same with the newest schema and the two tenants: a copy of one template."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        _ensure_owner(server, connection)
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)).fetchone() is None:
            draft = _create(server, connection, "template1")
            provision(draft.owner_url, RUNTIME_PASSWORD, CONTROL_PASSWORD)
            add_tenants(draft)
            connection.execute(f"ALTER DATABASE {draft.name} RENAME TO {_TEMPLATE}")
        return _create(server, connection, _TEMPLATE)


def _ensure_owner(server: PostgresServer, connection: psycopg.Connection) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone() is None:
        server.drop_database(make_database(server).name)  # the two roles are there now
        connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE NOINHERIT PASSWORD '{OWNER_PASSWORD}'")
        connection.execute(f"GRANT {RUNTIME_ROLE}, {CONTROL_ROLE} TO {OWNER} WITH ADMIN OPTION")


def _create(server: PostgresServer, connection: psycopg.Connection, template: str) -> Database:
    name = f"owned_{uuid.uuid4().hex[:12]}"
    connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
    with psycopg.connect(server.url_of(name)) as inside:
        inside.execute(f"GRANT ALL ON SCHEMA public TO {OWNER}")
    return Database(
        name,
        server,
        server.url_of(name, OWNER, OWNER_PASSWORD),
        server.url_of(name, RUNTIME_ROLE, RUNTIME_PASSWORD),
        server.url_of(name, CONTROL_ROLE, CONTROL_PASSWORD),
    )


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
        use_settings(_active[-1])  # a command may have chosen others
        runtime_engine().dispose()
        control_engine().dispose()
        _active.pop()
        use_settings(_active[-1] if _active else None)
