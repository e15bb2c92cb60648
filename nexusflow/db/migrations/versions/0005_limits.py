"""What run limits need: who waits, who holds which slot, who comes next; tenants' own limits and weights."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW_TENANT_TABLES = ("admissions", "slots")

LOCKS = "LOCK TABLE segments, runs IN ACCESS EXCLUSIVE MODE"

TENANTS = """
-- Null: the setting's. 0: no limit.
ALTER TABLE tenants ADD COLUMN max_running int CHECK (max_running >= 0),
    ADD COLUMN max_queued int CHECK (max_queued >= 0),
    ADD COLUMN weight int NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100);
GRANT UPDATE (max_running, max_queued, weight) ON tenants TO nexusflow_control;
"""

TABLES = """
-- A row for each live run that may have to wait for its turn. `entries`: its first segments, which are inserted when it
-- is admitted. `called`: another run waits for it.
CREATE TABLE admissions (
    run_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    turn timestamptz NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at timestamptz NOT NULL DEFAULT now(),
    entries jsonb NOT NULL,
    called boolean NOT NULL DEFAULT false,
    admitted_at timestamptz
);
CREATE INDEX admissions_waiting ON admissions (tenant_id, turn) WHERE admitted_at IS NULL;
CREATE INDEX admissions_called ON admissions (tenant_id, turn) WHERE called AND admitted_at IS NULL;

-- One row a run and limit. A slot is held by a live run that was admitted: it is counted, never kept in a number.
CREATE TABLE slots (
    run_id uuid NOT NULL,
    number smallint NOT NULL,
    tenant_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('concurrency', 'rate', 'debounce')),
    scope text COLLATE "C" NOT NULL,
    key text,
    most int NOT NULL CHECK (most > 0),
    seconds float8,
    when_full text CHECK (when_full IN ('queue', 'refuse', 'replace', 'reuse')),
    turn timestamptz NOT NULL,
    admitted_at timestamptz,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX slots_waiting ON slots (tenant_id, scope, turn) WHERE admitted_at IS NULL;
CREATE INDEX slots_taken ON slots (tenant_id, scope, admitted_at) WHERE admitted_at IS NOT NULL;
"""

FUNCTIONS = """
-- How many hold a slot of a limit now, or took one within its time. Each run is looked up by itself: a plan that joins
-- all runs, because nobody has counted them yet, would be slow under the lock.
CREATE FUNCTION slots_taken(of_tenant uuid, of_kind text, of_scope text, within float8) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT CASE of_kind
        WHEN 'concurrency' THEN (SELECT count(*) FROM slots s
            WHERE s.tenant_id = of_tenant AND s.scope = of_scope AND s.admitted_at IS NOT NULL
              AND (SELECT r.finished_at IS NULL FROM runs r WHERE r.id = s.run_id))
        WHEN 'rate' THEN (SELECT count(*) FROM slots s WHERE s.tenant_id = of_tenant AND s.scope = of_scope
            AND s.admitted_at > clock_timestamp() - make_interval(secs => within))
        ELSE 0 END
$$;

-- How many slots of a limit are held by the runs that wait for this one: it must not wait for them.
CREATE FUNCTION slots_of_callers(of_run uuid, of_scope text) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE callers AS (
        SELECT r.parent_run AS id FROM runs r WHERE r.id = of_run AND r.parent_segment IS NOT NULL
        UNION ALL
        SELECT r.parent_run FROM runs r JOIN callers c ON r.id = c.id WHERE r.parent_segment IS NOT NULL)
    SELECT count(*) FROM slots s JOIN callers c ON s.run_id = c.id
    WHERE s.scope = of_scope AND s.kind = 'concurrency' AND s.admitted_at IS NOT NULL
$$;

-- One at a time decides who comes in; it is held to the end of the transaction.
CREATE FUNCTION lock_admission(of_tenant uuid) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(hashtext('nexusflow.admission'), hashtext(of_tenant::text))
$$;

-- Admits the runs of a tenant whose turn it is, or those of `these` that nobody waits before; says how many.
-- Every statement sees what was committed before the lock was there.
CREATE FUNCTION admit_runs(of_tenant uuid, these uuid[], most_running int, batch int) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    candidates uuid[]; candidate uuid; room int := batch; admitted int := 0; moment timestamptz; is_called boolean;
BEGIN
    PERFORM lock_admission(of_tenant);
    SELECT nullif(coalesce(t.max_running, most_running), 0) INTO most_running FROM tenants t WHERE t.id = of_tenant;
    IF most_running IS NOT NULL THEN
        room := least(batch, most_running - (SELECT count(*) FROM (
            SELECT FROM runs r WHERE r.tenant_id = of_tenant AND r.finished_at IS NULL AND r.parent_segment IS NULL
              AND NOT EXISTS (SELECT FROM admissions a WHERE a.run_id = r.id AND a.admitted_at IS NULL)
            ORDER BY r.id LIMIT most_running) AS running));
    END IF;
    -- A run that another one waits for takes no room of its own: else both would wait for ever.
    IF room <= 0 AND NOT EXISTS (
        SELECT FROM admissions a WHERE a.tenant_id = of_tenant AND a.called AND a.admitted_at IS NULL) THEN
        RETURN 0;
    END IF;
    IF these IS NULL THEN
        -- Who waits for a limit that is full must not be looked at one by one.
        candidates := ARRAY(
            WITH asked AS MATERIALIZED (
                SELECT DISTINCT s.kind, s.scope, s.most, s.seconds FROM slots s
                WHERE s.tenant_id = of_tenant AND s.admitted_at IS NULL),
            filled AS MATERIALIZED (
                SELECT scope, most FROM asked WHERE slots_taken(of_tenant, kind, scope, seconds) >= most)
            SELECT a.run_id FROM admissions a
            WHERE a.tenant_id = of_tenant AND a.admitted_at IS NULL AND a.ready_at <= clock_timestamp()
              AND (room > 0 OR a.called)
              AND (a.called OR NOT EXISTS (
                    SELECT FROM slots s JOIN filled USING (scope, most) WHERE s.run_id = a.run_id))
            ORDER BY a.turn, a.run_id LIMIT batch);
    ELSE
        candidates := ARRAY(
            SELECT a.run_id FROM admissions a
            WHERE a.run_id = ANY(these) AND a.admitted_at IS NULL AND a.ready_at <= clock_timestamp()
            ORDER BY a.turn, a.run_id);
    END IF;
    FOREACH candidate IN ARRAY candidates LOOP
        SELECT a.called INTO is_called FROM admissions a WHERE a.run_id = candidate;
        CONTINUE WHEN room <= 0 AND NOT is_called;
        CONTINUE WHEN EXISTS (SELECT FROM slots s WHERE s.run_id = candidate
            AND slots_taken(of_tenant, s.kind, s.scope, s.seconds)
                - CASE WHEN is_called THEN slots_of_callers(candidate, s.scope) ELSE 0 END >= s.most);
        IF these IS NOT NULL AND EXISTS (
            SELECT FROM slots s JOIN slots w ON w.tenant_id = s.tenant_id AND w.scope = s.scope
                AND w.admitted_at IS NULL AND w.turn < s.turn
            WHERE s.run_id = candidate AND s.kind <> 'debounce' AND w.run_id <> ALL(these)) THEN
            -- Those before it may wait for another limit, or they come first: the dispatcher finds out.
            PERFORM pg_notify('nexusflow_work', of_tenant::text);
            CONTINUE;
        END IF;
        PERFORM FROM runs r WHERE r.id = candidate AND r.status = 'queued' AND r.ending IS NULL
            FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        moment := clock_timestamp();
        UPDATE slots SET admitted_at = moment WHERE run_id = candidate;
        UPDATE admissions SET admitted_at = moment WHERE run_id = candidate;
        INSERT INTO segments (run_id, segment, tenant_id, queue, patience)
            SELECT candidate, e.segment, of_tenant, e.queue, e.patience
            FROM admissions a, jsonb_to_recordset(a.entries) AS e(segment int, queue text, patience float8)
            WHERE a.run_id = candidate
            ON CONFLICT DO NOTHING;
        IF these IS NULL THEN
            INSERT INTO run_events (run_id, tenant_id, type) VALUES (candidate, of_tenant, 'run.admitted');
        END IF;
        admitted := admitted + 1;
        room := room - CASE WHEN is_called THEN 0 ELSE 1 END;
    END LOOP;
    RETURN admitted;
END $$;

-- A run with limits is over: its slots are free, and the dispatcher hears whose. What counts for a rate stays a while.
CREATE FUNCTION release_slots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM slots WHERE run_id = NEW.id AND (kind <> 'rate' OR admitted_at IS NULL);
    DELETE FROM admissions WHERE run_id = NEW.id;
    PERFORM pg_notify('nexusflow_work', NEW.tenant_id::text);
    RETURN NULL;
END $$;
"""

# A run without limits pays a look at one column.
RUNS = """
ALTER TABLE runs ADD COLUMN limited boolean NOT NULL DEFAULT false;
CREATE TRIGGER runs_release AFTER UPDATE ON runs FOR EACH ROW
    WHEN (NEW.limited AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION release_slots();
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON admissions, slots TO nexusflow_app, nexusflow_control;
"""

TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"


def upgrade() -> None:
    for statements in (LOCKS, TENANTS, TABLES, FUNCTIONS, RUNS, GRANTS):
        op.execute(statements)
    for table in NEW_TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} TO nexusflow_app"
            f" USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT})"
        )
        op.execute(f"CREATE POLICY control ON {table} TO nexusflow_control USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY owner_reads ON {table} FOR SELECT TO CURRENT_USER USING (true)")
