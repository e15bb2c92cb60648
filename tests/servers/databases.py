"""Migrated databases for tests, each a copy of one template, with two tenants in it."""

import uuid
from dataclasses import dataclass

import psycopg

from nexusflow.db.provision import RUNTIME_ROLE, provision
from nexusflow.settings import CONTROL_ROLE
from tests.servers.postgres import PostgresServer

RUNTIME_PASSWORD = CONTROL_PASSWORD = "role-password"  # one, so that either address follows from the other
TENANT_A, TENANT_B = (
    uuid.UUID("0199aaaa-0000-7000-8000-00000000000a"),
    uuid.UUID("0199bbbb-0000-7000-8000-00000000000b"),
)
_TEMPLATE = "nexusflow_template"


@dataclass(frozen=True)
class Database:
    """One migrated database: its addresses for the three roles, and two tenants that are in it."""

    name: str
    server: PostgresServer
    owner_url: str
    runtime_url: str
    control_url: str
    tenant_a: uuid.UUID = TENANT_A
    tenant_b: uuid.UUID = TENANT_B

    def environment(self) -> dict[str, str]:
        """The settings that point NexusFlow at this database."""
        return {"NEXUSFLOW_DATABASE_URL": self.runtime_url, "NEXUSFLOW_CONTROL_DATABASE_URL": self.control_url}


def make_database(server: PostgresServer) -> Database:
    """A fresh database with the newest schema and the two tenants."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)).fetchone() is None:
            _make_template(server)
        name = f"nexusflow_{uuid.uuid4().hex[:12]}"
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {_TEMPLATE}')
    return Database(
        name,
        server,
        server.url_of(name),
        server.url_of(name, RUNTIME_ROLE, RUNTIME_PASSWORD),
        server.url_of(name, CONTROL_ROLE, CONTROL_PASSWORD),
    )


def _make_template(server: PostgresServer) -> None:
    draft = server.create_database(f"{_TEMPLATE}_draft")
    provision(draft, RUNTIME_PASSWORD, CONTROL_PASSWORD)
    # Row-level security is forced on the owner too, but not on a superuser, which the private server's owner is.
    with psycopg.connect(draft) as connection:
        for tenant, name in ((TENANT_A, "tenant-a"), (TENANT_B, "tenant-b")):
            connection.execute("INSERT INTO tenants (id, name) VALUES (%s, %s)", (tenant, name))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {_TEMPLATE}_draft RENAME TO {_TEMPLATE}")
