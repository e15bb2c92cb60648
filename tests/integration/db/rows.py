"""A row in every tenant table, and what a tenant may try with it."""

import uuid
from itertools import count

import psycopg
import uuid_utils

_numbers = count(1)
INSERTS = {
    "workflows": "INSERT INTO workflows (id, tenant_id, name, config) VALUES (%(id)s, %(tenant)s, %(name)s, '{}')",
    "workflow_versions": "INSERT INTO workflow_versions (id, tenant_id, workflow_id, number, digest, source, config,"
    " plan) VALUES (%(id)s, %(tenant)s, %(parent)s, %(number)s, %(name)s, 'text', '{}', '{}')",
    "files": "INSERT INTO files (id, tenant_id, name, media_type, size, sha256)"
    " VALUES (%(id)s, %(tenant)s, 'x', 'y', 1, 'z')",
    "runs": "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input)"
    " VALUES (%(id)s, %(tenant)s, %(id)s, %(id)s, '{}')",
    "steps": "INSERT INTO steps (run_id, step, tenant_id, state) VALUES (%(id)s, 'a', %(tenant)s, 'running')",
    "run_events": "INSERT INTO run_events (run_id, tenant_id, type) VALUES (%(id)s, %(tenant)s, 'run.accepted')",
    "api_keys": "INSERT INTO api_keys (id, tenant_id, name, prefix, digest)"
    " VALUES (%(id)s, %(tenant)s, 'k', 'nxf_', sha256(%(name)s::bytea))",
    "idempotency_keys": "INSERT INTO idempotency_keys (tenant_id, key, fingerprint) VALUES (%(tenant)s, %(name)s, 'f')",
    "schedules": "INSERT INTO schedules (id, tenant_id, workflow_id, digest, spec)"
    " VALUES (%(id)s, %(tenant)s, %(parent)s, %(name)s, '{}')",
    "ticks": "INSERT INTO ticks (schedule_id, at, tenant_id, workflow_id)"
    " VALUES (%(id)s, now(), %(tenant)s, %(parent)s)",
    "object_chunks": "INSERT INTO object_chunks (key, number, tenant_id, data)"
    " VALUES (%(name)s, %(number)s, %(tenant)s, 'x')",
    "admissions": "INSERT INTO admissions (run_id, tenant_id, workflow_id, turn, entries)"
    " VALUES (%(id)s, %(tenant)s, %(parent)s, now(), '[]')",
    "slots": "INSERT INTO slots (run_id, number, tenant_id, kind, scope, most, turn)"
    " VALUES (%(id)s, 0, %(tenant)s, 'concurrency', %(name)s, 1, now())",
    "cached_outputs": "INSERT INTO cached_outputs (tenant_id, digest, expires_at)"
    " VALUES (%(tenant)s, sha256(%(name)s::bytea), now())",
    "signals": "INSERT INTO signals (id, tenant_id, name, expires_at) VALUES (%(id)s, %(tenant)s, 'paid', now())",
    "segments": "INSERT INTO segments (run_id, segment, tenant_id, queue) VALUES (%(id)s, 0, %(tenant)s, 'workflow')",
}


def insert(connection: psycopg.Connection, table: str, tenant: uuid.UUID) -> None:
    """Add a row of the tenant's to a table; its parents are the tenant's first ones."""
    new = str(uuid_utils.uuid7())
    parents = {
        name: connection.execute(f"SELECT id FROM {parent} WHERE tenant_id = %s LIMIT 1", (tenant,)).fetchone()
        for name, parent in (("parent", "workflows"), ("file", "files"))
    }
    given = {name: found[0] if found else new for name, found in parents.items()}
    values = {"id": new, "tenant": tenant, "name": new, "number": next(_numbers), **given}
    connection.execute(INSERTS[table], values)


def fill(connection: psycopg.Connection, tenant: uuid.UUID) -> None:
    """A row of the tenant's in every table."""
    for table in INSERTS:
        insert(connection, table, tenant)


def act_as(connection: psycopg.Connection, tenant: uuid.UUID) -> None:
    """Set the transaction's tenant."""
    connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant),))
