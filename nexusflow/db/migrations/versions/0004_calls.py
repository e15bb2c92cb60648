"""Runs that other runs call: a child's end wakes its parent, a parent's cancels it. Segments that are not needed."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# `pins`: the versions that the run's own calls start, by workflow; null for a run that calls nothing.
# `mock`: steps that say so are not done, but give what their `mock` says.
# `parent_segment`: the parent's segment that waits for this run; null where nobody does.
RUNS = """
ALTER TABLE runs ADD COLUMN parent_run uuid, ADD COLUMN parent_step text COLLATE "C",
    ADD COLUMN parent_item text COLLATE "C", ADD COLUMN parent_segment int, ADD COLUMN parent_queue text,
    ADD COLUMN depth int NOT NULL DEFAULT 0, ADD COLUMN pins jsonb, ADD COLUMN mock boolean NOT NULL DEFAULT false;
ALTER TABLE runs DROP CONSTRAINT runs_trigger_check;
ALTER TABLE runs ADD CONSTRAINT runs_trigger_check
    CHECK (trigger IN ('api', 'cli', 'page', 'schedule', 'workflow')) NOT VALID;
CREATE INDEX runs_children ON runs (parent_run, parent_step, parent_item) WHERE parent_run IS NOT NULL;
CREATE INDEX runs_called ON runs (parent_run) WHERE parent_segment IS NOT NULL AND finished_at IS NULL;
GRANT SELECT (parent_run, parent_step, parent_item, parent_segment, parent_queue, pins) ON runs TO nexusflow_control;
"""

# Whoever ends a child, a worker or the dispatcher: its parent's waiting segment becomes ready in the same transaction.
TELL_PARENT = """
CREATE FUNCTION tell_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO segments (run_id, segment, item, tenant_id, queue, due_at, held_due)
    SELECT p.id, NEW.parent_segment, NEW.parent_item, NEW.tenant_id, NEW.parent_queue,
           CASE WHEN p.status = 'paused' THEN timestamptz '9999-01-01 00:00:00+00' ELSE now() END,
           CASE WHEN p.status = 'paused' THEN now() END
    FROM runs p WHERE p.id = NEW.parent_run AND p.finished_at IS NULL AND p.ending IS NULL
    ON CONFLICT DO NOTHING;
    PERFORM pg_notify('nexusflow_work', '');
    RETURN NULL;
END $$;
CREATE TRIGGER runs_tell_parent AFTER UPDATE OF finished_at ON runs FOR EACH ROW
    WHEN (NEW.parent_segment IS NOT NULL AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL)
    EXECUTE FUNCTION tell_parent();
"""

# Whatever ends a parent: what it waited for is of no use any more. Their own children follow by the same trigger.
CANCEL_CHILDREN = """
CREATE FUNCTION cancel_children() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE runs SET ending = 'cancelled', ending_at = now(), cause = 'user',
        error = '{"code": "PARENT_ENDED", "message": "The run that called this one has ended.", "cause": "user",
                  "hint": "See the run that called it."}'::jsonb
    WHERE parent_run = NEW.id AND parent_segment IS NOT NULL AND finished_at IS NULL AND ending IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER runs_cancel_children AFTER UPDATE OF ending, finished_at ON runs FOR EACH ROW
    WHEN (NEW.pins IS NOT NULL AND ((NEW.ending IS NOT NULL AND OLD.ending IS NULL)
                                    OR (NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL)))
    EXECUTE FUNCTION cancel_children();
"""

# Nothing follows the step that a worker is at: a join went on without it.
SEGMENTS = "ALTER TABLE segments ADD COLUMN stopped boolean NOT NULL DEFAULT false"

# What steps with `cache` gave, by the digest of what they were given.
CACHE = """
CREATE TABLE cached_outputs (
    tenant_id uuid NOT NULL REFERENCES tenants,
    digest bytea NOT NULL,
    output jsonb,
    made_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest)
);
CREATE INDEX cached_outputs_expired ON cached_outputs (expires_at);
ALTER TABLE cached_outputs ENABLE ROW LEVEL SECURITY;
ALTER TABLE cached_outputs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON cached_outputs TO nexusflow_app
    USING (tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE ON cached_outputs TO nexusflow_app;
CREATE POLICY owner_reads ON cached_outputs FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY owner_prunes ON cached_outputs FOR DELETE TO CURRENT_USER USING (true);
CREATE POLICY owner_locks ON cached_outputs FOR UPDATE TO CURRENT_USER USING (true);

-- Deletes what has expired; says how many.
CREATE FUNCTION prune_cached_outputs(most int) RETURNS TABLE (what text, gone bigint) LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (DELETE FROM public.cached_outputs WHERE (tenant_id, digest) IN (
        SELECT c.tenant_id, c.digest FROM public.cached_outputs c WHERE c.expires_at < now()
        LIMIT most FOR UPDATE SKIP LOCKED) RETURNING 1)
    SELECT 'cached outputs', count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION prune_cached_outputs(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_cached_outputs(int) TO nexusflow_control;
"""


def upgrade() -> None:
    op.execute("LOCK TABLE segments, runs IN ACCESS EXCLUSIVE MODE")
    op.execute(SEGMENTS)
    op.execute(RUNS)
    op.execute(TELL_PARENT)
    op.execute(CANCEL_CHILDREN)
    op.execute(CACHE)
