"""What a service needs: API keys, publishing and deleting, schedules, large values, processes, a sure event order."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW_TENANT_TABLES = ("api_keys", "idempotency_keys", "schedules", "ticks", "object_chunks")

WORKFLOWS = """
ALTER TABLE workflows ADD COLUMN published_version int, ADD COLUMN deleted_at timestamptz;
ALTER TABLE workflows DROP CONSTRAINT workflows_tenant_id_name_key;
ALTER TABLE workflow_versions DROP CONSTRAINT workflow_versions_workflow_id_digest_key;
CREATE UNIQUE INDEX workflows_name ON workflows (tenant_id, name) WHERE deleted_at IS NULL;
UPDATE workflows w SET published_version = (SELECT max(number) FROM workflow_versions v WHERE v.workflow_id = w.id)
    WHERE status = 'published';
"""

# `*_at` columns name where a large value is kept; the value's own column is then null.
RUNS = """
ALTER TABLE runs ADD COLUMN trigger text NOT NULL DEFAULT 'cli' CHECK (trigger IN ('api', 'cli', 'page', 'schedule')),
    ADD COLUMN request_key text, ADD COLUMN input_at text, ADD COLUMN output_at text,
    ALTER COLUMN input DROP NOT NULL;
ALTER TABLE steps ADD COLUMN output_at text, ADD COLUMN items_at text, ADD COLUMN items_count int;
CREATE INDEX runs_of_workflow ON runs (tenant_id, workflow_id, id DESC);
CREATE INDEX runs_bad ON runs (tenant_id, id DESC) WHERE status IN ('failed', 'cancelled', 'timed_out');
CREATE INDEX runs_live ON runs (tenant_id, id DESC) WHERE finished_at IS NULL;
CREATE INDEX runs_finished ON runs (tenant_id, finished_at DESC, id DESC) WHERE finished_at IS NOT NULL;
"""

# Ids of a sequence become visible out of order. In the order (xact, id), what is before the oldest running transaction
# is complete: a reader that remembers that point misses nothing.
EVENTS = """
ALTER TABLE run_events ADD COLUMN xact xid8 NOT NULL DEFAULT '0';
ALTER TABLE run_events ALTER COLUMN xact SET DEFAULT pg_current_xact_id();
ALTER TABLE run_events DROP CONSTRAINT run_events_pkey;
ALTER TABLE run_events ADD PRIMARY KEY (run_id, xact, id);
"""

TABLES = """
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    prefix text NOT NULL,
    digest bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL REFERENCES tenants,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint text NOT NULL,
    answer jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE schedules (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    workflow_id uuid NOT NULL REFERENCES workflows,
    digest text NOT NULL,
    name text,
    spec jsonb NOT NULL,
    input jsonb NOT NULL DEFAULT '{}',
    anchor timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz,
    UNIQUE (workflow_id, digest)
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE ticks (
    schedule_id uuid NOT NULL,
    at timestamptz NOT NULL,
    tenant_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'started', 'skipped', 'failed')),
    run_id uuid,
    error jsonb,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, at)
);
CREATE INDEX ticks_due ON ticks (at) WHERE state = 'due';
CREATE INDEX ticks_age ON ticks (made_at);

CREATE TABLE object_chunks (
    key text COLLATE "C" NOT NULL,
    number int NOT NULL,
    tenant_id uuid NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (key, number)
);
ALTER TABLE files ADD COLUMN kept_at text;

-- Workers and beats as they last said: no tenant's data.
CREATE TABLE processes (
    name text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('worker', 'beat', 'web')),
    host text NOT NULL,
    pid int NOT NULL,
    version text NOT NULL,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'draining')),
    details jsonb NOT NULL DEFAULT '{}',
    stats jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys, idempotency_keys, schedules, ticks, object_chunks TO nexusflow_app;
GRANT SELECT ON api_keys TO nexusflow_control;
GRANT UPDATE (last_used_at) ON api_keys TO nexusflow_control;
GRANT SELECT (created_at), DELETE ON idempotency_keys TO nexusflow_control;
GRANT SELECT (id, tenant_id, workflow_id, spec, anchor, next_at), UPDATE (next_at) ON schedules TO nexusflow_control;
GRANT SELECT, INSERT, UPDATE, DELETE ON ticks TO nexusflow_control;
GRANT SELECT, INSERT, UPDATE, DELETE ON processes TO nexusflow_control;
"""

TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"

POLICIES = """
CREATE POLICY control ON api_keys TO nexusflow_control USING (true) WITH CHECK (true);
CREATE POLICY control ON idempotency_keys TO nexusflow_control USING (true);
CREATE POLICY control ON schedules TO nexusflow_control USING (true) WITH CHECK (true);
CREATE POLICY control ON ticks TO nexusflow_control USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    for statements in (WORKFLOWS, RUNS, EVENTS, TABLES):
        op.execute(statements)
    for table in NEW_TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} TO nexusflow_app"
            f" USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT})"
        )
    op.execute(GRANTS)
    op.execute(POLICIES)
