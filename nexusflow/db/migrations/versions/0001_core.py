"""Tenants, workflows and their versions, files, runs, steps, events and the live segments."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANT_TABLES = (
    "workflows",
    "workflow_versions",
    "files",
    "file_chunks",
    "runs",
    "steps",
    "run_events",
    "segments",
)
PARTITIONED = ("runs", "steps", "run_events")

TABLES = """
CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    plan text NOT NULL DEFAULT 'free',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workflows (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    config jsonb NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE workflow_versions (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    workflow_id uuid NOT NULL REFERENCES workflows,
    number int NOT NULL,
    digest text NOT NULL,
    source text NOT NULL,
    config jsonb NOT NULL,
    plan jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workflow_id, number),
    UNIQUE (workflow_id, digest)
);

CREATE TABLE files (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL,
    media_type text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE file_chunks (
    file_id uuid NOT NULL REFERENCES files ON DELETE CASCADE,
    number int NOT NULL,
    tenant_id uuid NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (file_id, number)
);

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    version_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    ending text CHECK (ending IN ('failed', 'cancelled', 'timed_out')),
    ending_at timestamptz,
    cause text CHECK (cause IN ('user', 'provider', 'platform')),
    input jsonb NOT NULL,
    output jsonb,
    error jsonb,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    deadline timestamptz
) PARTITION BY RANGE (id);
CREATE INDEX runs_recent ON runs (tenant_id, id DESC);
CREATE INDEX runs_ending ON runs (ending_at) WHERE ending IS NOT NULL AND finished_at IS NULL;
CREATE INDEX runs_deadline ON runs (deadline) WHERE deadline IS NOT NULL AND finished_at IS NULL;

CREATE TABLE steps (
    run_id uuid NOT NULL,
    step text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL DEFAULT '',
    tenant_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN
        ('running', 'retrying', 'succeeded', 'failed', 'skipped', 'blocked', 'cancelled', 'timed_out')),
    attempts int NOT NULL DEFAULT 1,
    output jsonb,
    error jsonb,
    items jsonb,
    cursor int,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (run_id, step, item)
) PARTITION BY RANGE (run_id);

CREATE SEQUENCE run_events_id;
CREATE TABLE run_events (
    run_id uuid NOT NULL,
    id bigint NOT NULL DEFAULT nextval('run_events_id'),
    tenant_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    type text NOT NULL,
    step text,
    item text,
    data jsonb,
    PRIMARY KEY (run_id, id)
) PARTITION BY RANGE (run_id);

-- Live work only: a row goes when its segment is done, so sweeps read what is alive, not what ever was.
CREATE TABLE segments (
    run_id uuid NOT NULL,
    segment int NOT NULL,
    item text COLLATE "C" NOT NULL DEFAULT '',
    lo int NOT NULL DEFAULT 0,
    hi int NOT NULL DEFAULT 0,
    tenant_id uuid NOT NULL,
    queue text NOT NULL,
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased')),
    due_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    publications int NOT NULL DEFAULT 0,
    fence uuid,
    worker text,
    task_id text,
    lease_until timestamptz,
    patience float8 NOT NULL DEFAULT 600,
    deadline timestamptz,
    attempts int NOT NULL DEFAULT 0,
    losses int NOT NULL DEFAULT 0,
    verdict text CHECK (verdict IN ('timed_out', 'worker_lost')),
    PRIMARY KEY (run_id, segment, item, lo),
    CHECK ((state = 'leased') = (fence IS NOT NULL AND lease_until IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX segments_due ON segments (due_at) WHERE state = 'ready' AND published_at IS NULL;
CREATE INDEX segments_hinted ON segments (published_at) WHERE state = 'ready' AND published_at IS NOT NULL;
CREATE INDEX segments_leased ON segments (task_id) WHERE state = 'leased';
"""

FENCE = """
-- Locks a leased segment for the transaction; a holder whose fence is not the row's own any more is refused.
CREATE FUNCTION hold_segment(run uuid, number int, at_item text, at_lo int, token uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM segments s JOIN runs r ON r.id = s.run_id
        WHERE s.run_id = run AND s.segment = number AND s.item = at_item AND s.lo = at_lo AND s.fence = token
          AND r.finished_at IS NULL FOR UPDATE OF s;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the segment is no longer held' USING ERRCODE = 'NX001';
    END IF;
END $$;
"""

IMMUTABLE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a terminal or immutable row of % cannot change', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER runs_terminal BEFORE UPDATE ON runs FOR EACH ROW
    WHEN (OLD.status IN ('succeeded', 'failed', 'cancelled', 'timed_out')) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER steps_terminal BEFORE UPDATE ON steps FOR EACH ROW
    WHEN (OLD.state NOT IN ('running', 'retrying')) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER run_events_final BEFORE UPDATE ON run_events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER versions_final BEFORE UPDATE ON workflow_versions FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

PARTITIONS = """
-- The least UUIDv7 of a moment (RFC 9562, section 5.7: 48 bits of Unix milliseconds first).
CREATE FUNCTION uuid_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- Makes the months' partitions from the last one to `ahead` months on; runs as the owner, for roles that own nothing.
CREATE FUNCTION make_partitions(ahead int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    parent text; month timestamptz; part text; made int := 0;
    this_month timestamptz := date_trunc('month', now(), 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('nexusflow.make_partitions'));
    FOR month IN SELECT generate_series(this_month - interval '1 month',
                                        this_month + make_interval(months => least(ahead, 24)), interval '1 month') LOOP
        FOREACH parent IN ARRAY ARRAY['runs', 'steps', 'run_events'] LOOP
            part := parent || '_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                part, parent, public.uuid_floor(month), public.uuid_floor(month + interval '1 month'));
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION make_partitions(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions(int) TO nexusflow_control;
SELECT make_partitions(3);
"""

GRANTS = """
GRANT USAGE ON SCHEMA public TO nexusflow_app, nexusflow_control;
GRANT SELECT ON tenants, alembic_version TO nexusflow_app, nexusflow_control;
GRANT INSERT ON tenants TO nexusflow_control;
GRANT SELECT, INSERT, UPDATE ON workflows, runs, steps, files TO nexusflow_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON segments TO nexusflow_app;
GRANT SELECT, INSERT ON workflow_versions, run_events, file_chunks TO nexusflow_app;
GRANT USAGE ON SEQUENCE run_events_id TO nexusflow_app, nexusflow_control;
GRANT SELECT, INSERT, UPDATE, DELETE ON segments TO nexusflow_control;
GRANT SELECT (id, tenant_id, version_id, status, ending, ending_at, deadline, accepted_at, started_at, finished_at),
      UPDATE (status, ending, ending_at, cause, error, finished_at) ON runs TO nexusflow_control;
GRANT INSERT ON run_events TO nexusflow_control;
"""

TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"

POLICIES = f"""
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_self ON tenants TO nexusflow_app USING (id = {TENANT});
CREATE POLICY control ON tenants TO nexusflow_control USING (true) WITH CHECK (true);
CREATE POLICY control ON segments TO nexusflow_control USING (true) WITH CHECK (true);
CREATE POLICY control ON runs TO nexusflow_control USING (true) WITH CHECK (true);
CREATE POLICY control ON run_events FOR INSERT TO nexusflow_control WITH CHECK (true);
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(FENCE)
    op.execute(IMMUTABLE)
    for table in TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} TO nexusflow_app"
            f" USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT})"
        )
    op.execute(GRANTS)
    op.execute(POLICIES)
    op.execute(PARTITIONS)
