"""What a service needs: API keys, publishing and deleting, schedules, large values, processes, a sure event order."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW_TENANT_TABLES = ("api_keys", "idempotency_keys", "schedules", "ticks", "object_chunks")

# In the order in which workers take them, before anything else: none of them ends in a deadlock.
LOCKS = """
LOCK TABLE segments, runs, steps, run_events, workflow_versions, workflows, files, file_chunks IN ACCESS EXCLUSIVE MODE
"""

WORKFLOWS = """
ALTER TABLE workflows ADD COLUMN published_version int, ADD COLUMN deleted_at timestamptz;
ALTER TABLE workflows DROP CONSTRAINT workflows_tenant_id_name_key;
ALTER TABLE workflow_versions DROP CONSTRAINT workflow_versions_workflow_id_digest_key;
CREATE UNIQUE INDEX workflows_name ON workflows (tenant_id, name) WHERE deleted_at IS NULL;
-- The policies bind the owner too: without this it would find no row to change.
ALTER TABLE workflows NO FORCE ROW LEVEL SECURITY;
ALTER TABLE workflow_versions NO FORCE ROW LEVEL SECURITY;
UPDATE workflows w SET published_version = (SELECT max(number) FROM workflow_versions v WHERE v.workflow_id = w.id)
    WHERE status = 'published';
ALTER TABLE workflows FORCE ROW LEVEL SECURITY;
ALTER TABLE workflow_versions FORCE ROW LEVEL SECURITY;
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
ALTER TABLE object_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

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

# Files become objects like all others. Workers of the release before still read them by the old name.
FILES = """
ALTER TABLE files ADD COLUMN kept_at text;
ALTER TABLE files NO FORCE ROW LEVEL SECURITY;
ALTER TABLE file_chunks NO FORCE ROW LEVEL SECURITY;
UPDATE files SET kept_at = 'db:' || to_char(to_timestamp(('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))
        ::bit(64)::bigint / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM')
    || '/' || tenant_id || '/' || id || '/' || sha256 || '.' || size;
INSERT INTO object_chunks (key, number, tenant_id, data)
    SELECT f.kept_at, c.number, c.tenant_id, c.data FROM file_chunks c JOIN files f ON f.id = c.file_id;
ALTER TABLE files FORCE ROW LEVEL SECURITY;
DROP TABLE file_chunks;
CREATE VIEW file_chunks WITH (security_invoker = true) AS
    SELECT f.id AS file_id, c.number, c.tenant_id, c.data FROM object_chunks c JOIN files f ON f.kept_at = c.key;
GRANT SELECT ON file_chunks TO nexusflow_app;
"""

# What a role that owns nothing may have deleted, and no more: each function looks for itself whether it may.
RETENTION = """
ALTER FUNCTION make_partitions(int) SET timezone = 'UTC';

-- The months whose last day is over for `days` days, with the number of live runs that hold them: those accepted in
-- them, and those in the month after, which may have been given their files.
CREATE FUNCTION old_months(days int) RETURNS TABLE (month timestamptz, live bigint, runs bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
    SELECT m.month, (SELECT count(*) FROM public.runs r WHERE r.id >= public.uuid_floor(m.month)
                         AND r.id < public.uuid_floor(m.month + interval '2 months') AND r.finished_at IS NULL),
           (SELECT count(*) FROM public.runs r WHERE r.id >= public.uuid_floor(m.month)
                         AND r.id < public.uuid_floor(m.month + interval '1 month'))
    FROM (SELECT make_timestamptz(substr(c.relname, 6, 4)::int, substr(c.relname, 11, 2)::int, 1, 0, 0, 0) AS month
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'public.runs'::regclass AND c.relname ~ '^runs_[0-9]{4}_[0-9]{2}$') m
    WHERE m.month + interval '1 month' < now() - make_interval(days => greatest(days, 1))
      -- An owner that the policies hide the runs from (another one than made them) would see no live one.
      AND (NOT row_security_active('public.runs') OR EXISTS (SELECT FROM pg_policy p
           WHERE p.polrelid = 'public.runs'::regclass AND p.polname = 'owner_reads'
             AND (SELECT oid FROM pg_roles WHERE rolname = current_user) = ANY (p.polroles)))
    ORDER BY m.month
$$;

-- Deletes some of an old month's objects; says how many chunks. Short transactions: a long one holds back the readers
-- of events.
CREATE FUNCTION prune_objects(days int, which timestamptz, most int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
DECLARE gone int; name text := 'db:' || to_char(which, 'YYYY-MM');
BEGIN
    IF NOT EXISTS (SELECT FROM public.old_months(days) o WHERE o.month = which AND o.live = 0) THEN
        RETURN 0;
    END IF;
    WITH found AS (SELECT key, number FROM public.object_chunks WHERE key >= name || '/' AND key < name || '0'
                   LIMIT most FOR UPDATE SKIP LOCKED)
    DELETE FROM public.object_chunks c USING found WHERE c.key = found.key AND c.number = found.number;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- Drops an old month's partitions and the rows of its files; false where there is nothing to drop, a run lives, another
-- one is at it, or the tables are busy.
CREATE FUNCTION prune_month(days int, which timestamptz) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' SET lock_timeout = '500ms' AS $$
DECLARE parent text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('nexusflow.prune')) OR NOT EXISTS (
        SELECT FROM public.old_months(days) o WHERE o.month = which AND o.live = 0) THEN
        RETURN false;
    END IF;
    FOREACH parent IN ARRAY ARRAY['runs', 'steps', 'run_events'] LOOP
        EXECUTE format('DROP TABLE IF EXISTS public.%I', parent || '_' || to_char(which, 'YYYY_MM'));
    END LOOP;
    DELETE FROM public.files
        WHERE id >= public.uuid_floor(which) AND id < public.uuid_floor(which + interval '1 month');
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;

-- Deletes old rows that are no run's; says how many of each kind.
CREATE FUNCTION prune_rows(days int, most int) RETURNS TABLE (what text, gone bigint) LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
    WITH keys AS (DELETE FROM public.idempotency_keys WHERE (tenant_id, key) IN (
            SELECT k.tenant_id, k.key FROM public.idempotency_keys k WHERE k.created_at < now() - interval '7 days'
            LIMIT most FOR UPDATE SKIP LOCKED) RETURNING 1),
    ticked AS (DELETE FROM public.ticks WHERE (schedule_id, at) IN (
            SELECT t.schedule_id, t.at FROM public.ticks t
            WHERE t.made_at < now() - make_interval(days => greatest(days, 1)) AND t.state <> 'due'
            LIMIT most FOR UPDATE SKIP LOCKED) RETURNING 1),
    ended AS (DELETE FROM public.processes WHERE seen_at < now() - interval '1 day' RETURNING 1)
    SELECT 'idempotency keys', count(*) FROM keys UNION ALL SELECT 'ticks', count(*) FROM ticked
    UNION ALL SELECT 'processes', count(*) FROM ended
$$;
"""

RETENTION_FUNCTIONS = (
    "old_months(int)",
    "prune_objects(int, timestamptz, int)",
    "prune_month(int, timestamptz)",
    "prune_rows(int, int)",
)

# Forced policies bind the owner as well. It reads everything, for backups and to see which runs live, and deletes what
# is old: it could take the policies away just as well. (A check that sees no rows would drop live runs.)
OWNER_READS = (*NEW_TENANT_TABLES, "workflows", "workflow_versions", "files", "runs", "steps", "run_events", "segments")
OWNER_PRUNES = ("files", "object_chunks", "idempotency_keys", "ticks")

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
    for statements in (LOCKS, WORKFLOWS, RUNS, EVENTS, TABLES, FILES):
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
    for table in (*OWNER_READS, "tenants"):
        op.execute(f"CREATE POLICY owner_reads ON {table} FOR SELECT TO CURRENT_USER USING (true)")
    for table in OWNER_PRUNES:
        op.execute(f"CREATE POLICY owner_prunes ON {table} FOR DELETE TO CURRENT_USER USING (true)")
        # A row that is locked before it is deleted counts as one to be changed.
        op.execute(f"CREATE POLICY owner_locks ON {table} FOR UPDATE TO CURRENT_USER USING (true)")
    op.execute(RETENTION)
    for function in RETENTION_FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO nexusflow_control")
