"""What waiting for an event needs: signals, and on the segment that ends a wait the event it waits for."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOCKS = "LOCK TABLE segments IN ACCESS EXCLUSIVE MODE"

# A segment that ends a wait for an event: the wait's step, since when it waits, and the signal that it was given.
WAITS = """
ALTER TABLE segments ADD COLUMN event text, ADD COLUMN event_key text, ADD COLUMN event_step text,
    ADD COLUMN waits_since timestamptz, ADD COLUMN signal_id uuid;
CREATE INDEX segments_awaiting ON segments (tenant_id, event, event_key, waits_since)
    WHERE event IS NOT NULL AND signal_id IS NULL;
"""

SIGNALS = """
CREATE TABLE signals (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    key text NOT NULL DEFAULT '' CHECK (length(key) <= 200),
    data jsonb,
    state text NOT NULL DEFAULT 'kept' CHECK (state IN ('kept', 'delivered', 'expired', 'refused')),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    delivered_at timestamptz,
    run_id uuid,
    step text,
    item text,
    CHECK ((state = 'delivered') = (run_id IS NOT NULL AND step IS NOT NULL AND delivered_at IS NOT NULL))
);
CREATE INDEX signals_kept ON signals (tenant_id, name, key, received_at) WHERE state = 'kept';
CREATE INDEX signals_expiring ON signals (expires_at) WHERE state = 'kept';
CREATE INDEX signals_recent ON signals (tenant_id, id DESC);
CREATE INDEX signals_named ON signals (tenant_id, name, id DESC);
CREATE INDEX signals_keyed ON signals (tenant_id, key, id DESC);
CREATE INDEX signals_of_run ON signals (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX signals_age ON signals (received_at) WHERE state <> 'kept';
CREATE TRIGGER signals_final BEFORE UPDATE ON signals FOR EACH ROW
    WHEN (OLD.state <> 'kept') EXECUTE FUNCTION refuse_change();
"""

# Deletes old signals that are over; one that a wait has still to read stays (a paused run may rest for long).
RETENTION = """
CREATE FUNCTION prune_signals(days int, most int) RETURNS TABLE (what text, gone bigint) LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
    WITH over AS (DELETE FROM public.signals WHERE id IN (
            SELECT g.id FROM public.signals g
            WHERE g.state <> 'kept' AND g.received_at < now() - make_interval(days => greatest(days, 1))
              AND NOT EXISTS (SELECT FROM public.segments s WHERE s.run_id = g.run_id AND s.signal_id = g.id)
            LIMIT most FOR UPDATE SKIP LOCKED) RETURNING 1)
    SELECT 'signals', count(*) FROM over
$$;
REVOKE ALL ON FUNCTION prune_signals(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_signals(int, int) TO nexusflow_control;
"""

TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"

POLICIES = f"""
ALTER TABLE signals ENABLE ROW LEVEL SECURITY;
ALTER TABLE signals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON signals TO nexusflow_app USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT});
CREATE POLICY control ON signals TO nexusflow_control USING (true) WITH CHECK (true);
CREATE POLICY owner_reads ON signals FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY owner_prunes ON signals FOR DELETE TO CURRENT_USER USING (true);
CREATE POLICY owner_locks ON signals FOR UPDATE TO CURRENT_USER USING (true);
GRANT SELECT, INSERT, UPDATE ON signals TO nexusflow_app;
GRANT SELECT (id, state, expires_at), UPDATE (state) ON signals TO nexusflow_control;
"""


def upgrade() -> None:
    op.execute(LOCKS)
    op.execute(WAITS)
    op.execute(SIGNALS)
    op.execute(POLICIES)
    op.execute(RETENTION)
