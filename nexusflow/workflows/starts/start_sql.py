"""The SQL that starts runs: all of it in one statement."""
# ruff: noqa: S608 - composed of the constants in this file alone; every value is a parameter

# The versions that a run's calls will start.
PINS = """CASE WHEN %(calls)s::text[] IS NOT NULL THEN (
                SELECT coalesce(jsonb_object_agg(c.name, CASE WHEN c.id = workflow.id THEN %(number)s::int
                    ELSE coalesce(c.published_version, (SELECT max(v.number) FROM workflow_versions v
                                                        WHERE v.workflow_id = c.id)) END), '{}'::jsonb)
                FROM workflows c WHERE c.name = ANY(%(calls)s::text[]) AND c.deleted_at IS NULL) END"""

# What is made begins, or (with limits) waits without segments until it is admitted.
TAKE_TURN = """
first AS (
    INSERT INTO segments (run_id, segment, tenant_id, queue, patience)
    SELECT made.id, e.segment, %(tenant)s, e.queue, e.patience
    FROM made, jsonb_to_recordset(%(entries)s::jsonb) AS e(segment int, queue text, patience float8)
    WHERE NOT made.limited),
waiting AS (
    INSERT INTO admissions (run_id, tenant_id, workflow_id, turn, asked_at, ready_at, entries, called)
    SELECT made.id, %(tenant)s, %(workflow)s, statement_timestamp() - make_interval(mins => g.priority),
           statement_timestamp(), statement_timestamp() + make_interval(secs => g.wait), %(entries)s::jsonb,
           %(segment)s::int IS NOT NULL
    FROM made JOIN given g USING (id) WHERE made.limited),
taking AS (
    INSERT INTO slots (run_id, number, tenant_id, kind, scope, key, most, seconds, when_full, turn)
    SELECT made.id, s.number, %(tenant)s, s.kind, s.scope, s.key, s.most, s.seconds, s.when_full,
           statement_timestamp() - make_interval(mins => g.priority)
    FROM made JOIN given g USING (id), jsonb_to_recordset(g.slots) AS s(number int, kind text, scope text, key text,
        most int, seconds float8, when_full text)
    WHERE made.limited),
"""

# Nothing is inserted unless the workflow may still be started so, nobody used the key, and the tenant's queue has room:
# then nothing is locked. A run with limits waits without segments until it is admitted.
START_RUNS = f"""
WITH caller AS (
    -- Locked until the child is there: who ends the caller meanwhile waits, and then finds the child to cancel.
    SELECT FROM runs p WHERE p.id = %(parent)s::uuid AND p.ending IS NULL AND p.finished_at IS NULL FOR SHARE),
given AS (
    SELECT * FROM jsonb_to_recordset(%(runs)s::jsonb)
        AS g(id uuid, input jsonb, input_at text, priority int, wait float8, slots jsonb)),
queue AS (
    SELECT %(limited)s OR (%(segment)s::int IS NULL AND coalesce(t.max_running, %(max_running)s::int) > 0) AS limited,
           %(segment)s::int IS NOT NULL OR coalesce(t.max_queued, %(max_queued)s::int) = 0
           OR coalesce(t.max_queued, %(max_queued)s::int) >= (
                SELECT %(count)s + count(*) FROM (
                    SELECT FROM runs r WHERE r.tenant_id = t.id AND r.finished_at IS NULL AND r.status = 'queued'
                    LIMIT coalesce(t.max_queued, %(max_queued)s::int)) AS queued) AS has_room
    FROM tenants t WHERE t.id = %(tenant)s),
workflow AS (
    SELECT w.id, queue.limited FROM workflows w, queue
    WHERE w.id = %(workflow)s AND w.deleted_at IS NULL AND w.status <> 'archived' AND queue.has_room
      AND (%(parent)s::uuid IS NULL OR EXISTS (SELECT FROM caller))
      AND (%(asked)s OR %(number)s = coalesce(w.published_version,
            (SELECT max(v.number) FROM workflow_versions v WHERE v.workflow_id = w.id)))),
taken AS (
    INSERT INTO idempotency_keys (tenant_id, key, fingerprint, answer)
    SELECT %(tenant)s, %(key)s::text, %(mark)s, %(answer)s::jsonb FROM workflow WHERE %(key)s::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING true),
made AS (
    INSERT INTO runs (id, tenant_id, workflow_id, version_id, input, input_at, trigger, request_key, deadline, start_by,
                      parent_run, parent_step, parent_item, parent_segment, parent_queue, depth, pins, mock, limited)
    SELECT g.id, %(tenant)s, workflow.id, %(version)s, g.input, g.input_at, %(trigger)s, %(key)s::text,
           now() + make_interval(secs => %(timeout)s::float8),
           now() + make_interval(secs => %(queue_timeout)s::float8),
           %(parent)s::uuid, %(parent_step)s::text, %(parent_item)s::text, %(segment)s::int,
           %(parent_queue)s::text, %(depth)s::int,
           {PINS},
           %(mock)s::bool, workflow.limited
    FROM workflow, given g
    WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM taken)
    RETURNING id, limited),
{TAKE_TURN}told AS (
    INSERT INTO run_events (run_id, tenant_id, type) SELECT id, %(tenant)s, 'run.accepted' FROM made)
SELECT (SELECT count(*) FROM made), limited, has_room FROM queue
"""

# A request that starts nothing, because all it asks for is there, is kept under its key like any other.
KEEP_ANSWER = """
INSERT INTO idempotency_keys (tenant_id, key, fingerprint, answer)
VALUES (%(tenant)s, %(key)s, %(mark)s, %(answer)s::jsonb) ON CONFLICT DO NOTHING
"""
