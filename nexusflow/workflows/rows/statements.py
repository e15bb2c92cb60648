"""The SQL of the engine's hot path. Every statement runs in a transaction that has set its tenant (RLS).

Transactions that write for a claimed segment start with HOLD, which locks the segment's row and refuses a lost fence.
"""
# ruff: noqa: S608 - composed of the constants in this file alone; every value is a parameter

HELD = "timestamptz '9999-01-01 00:00:00+00'"
"""When the work of a paused run is due: PostgreSQL's infinity is no moment to subtract from, or to show."""

HOLD = "SELECT hold_segment(%(run)s, %(segment)s, %(item)s, %(lo)s, %(fence)s)"

CLAIM = """
UPDATE segments s SET state = 'leased', fence = %(fence)s, worker = %(worker)s, task_id = %(task_id)s,
    lease_until = now() + make_interval(secs => %(lease)s),
    deadline = now() + make_interval(secs => s.patience * greatest(s.hi - s.lo, 1))
FROM runs r
WHERE s.run_id = %(run)s AND s.segment = %(segment)s AND s.item = %(item)s AND s.lo = %(lo)s
  AND s.state = 'ready' AND s.due_at <= now()
  AND r.id = s.run_id AND r.ending IS NULL AND r.status IN ('queued', 'running')
RETURNING s.hi, s.queue, s.attempts, s.losses, s.verdict, s.stopped, r.mock, r.version_id,
    CASE WHEN %(known)s THEN NULL ELSE r.input END, CASE WHEN %(known)s THEN NULL ELSE r.input_at END,
    r.origin, CASE WHEN %(known)s THEN NULL ELSE r.fresh END
"""

START = """
WITH started AS (
    UPDATE runs SET status = 'running', started_at = now()
    WHERE id = %(run)s AND status = 'queued' AND EXISTS (SELECT 1 FROM segments s WHERE s.run_id = %(run)s
        AND s.segment = %(segment)s AND s.item = %(item)s AND s.lo = %(lo)s AND s.fence = %(fence)s)
    RETURNING id)
INSERT INTO run_events (run_id, tenant_id, type) SELECT id, %(tenant)s, 'run.started' FROM started
"""

RECORD = """
WITH incoming AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS x(step text, item text, state text, attempts int, output jsonb,
        output_at text, error jsonb, items jsonb, items_at text, items_count int, cursor int, seconds float8,
        event bool)),
recorded AS (
    INSERT INTO steps (run_id, step, item, tenant_id, state, attempts, output, output_at, error, items, items_at,
                       items_count, cursor, started_at, finished_at)
    SELECT %(run)s, x.step, x.item, %(tenant)s, x.state, x.attempts, x.output, x.output_at, x.error, x.items,
           x.items_at, x.items_count, x.cursor,
           clock_timestamp() - make_interval(secs => x.seconds),
           CASE WHEN x.state NOT IN ('running', 'retrying', 'waiting') THEN clock_timestamp() END
    FROM incoming x
    ON CONFLICT (run_id, step, item) DO UPDATE
        SET state = excluded.state, attempts = excluded.attempts, output = excluded.output,
            output_at = excluded.output_at, error = excluded.error, finished_at = excluded.finished_at,
            cursor = CASE WHEN steps.unpassed THEN excluded.cursor ELSE steps.cursor END, kept_from = NULL,
            unpassed = NULL
        WHERE steps.state IN ('running', 'retrying', 'waiting')
    RETURNING step, item, state, attempts, error)
INSERT INTO run_events (run_id, tenant_id, type, step, item, data)
SELECT %(run)s, %(tenant)s, 'step.' || r.state, r.step, r.item,
       jsonb_strip_nulls(jsonb_build_object('attempts', r.attempts, 'error', r.error))
FROM recorded r JOIN incoming x USING (step, item) WHERE x.event
RETURNING type
"""

# In a rerun: what it has kept and has come to now counts for joins like what it has done.
COME_PAST = """
UPDATE steps s SET unpassed = NULL FROM jsonb_to_recordset(%(rows)s::jsonb) AS x(step text, item text)
WHERE s.run_id = %(run)s AND s.step = x.step AND s.item = x.item AND s.unpassed
"""

NEXT_STEP = """
UPDATE segments SET attempts = 0, losses = 0, verdict = NULL, deadline = now() + make_interval(secs => %(timeout)s)
WHERE run_id = %(run)s AND segment = %(segment)s AND item = %(item)s AND lo = %(lo)s
"""

STAY = """
UPDATE segments SET deadline = greatest(deadline, now() + make_interval(secs => %(seconds)s))
WHERE run_id = %(run)s AND segment = %(segment)s AND item = %(item)s AND lo = %(lo)s
"""

END_RUN = """
UPDATE runs SET ending = %(status)s, ending_at = now(), cause = %(cause)s, error = %(error)s::jsonb
WHERE id = %(run)s AND ending IS NULL AND status IN ('queued', 'running', 'paused')
"""

FINISH_ENDING = """
WITH finished AS (
    UPDATE runs SET status = ending, finished_at = now()
    WHERE id = %(run)s AND ending IS NOT NULL AND finished_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.run_id = %(run)s AND s.state = 'leased')
    RETURNING id, status, tenant_id),
gone AS (DELETE FROM segments s USING finished f WHERE s.run_id = f.id),
told AS (INSERT INTO run_events (run_id, tenant_id, type) SELECT id, tenant_id, 'run.' || status FROM finished)
SELECT 'run.' || status AS type FROM finished
"""

SUCCEED = """
WITH finished AS (
    UPDATE runs SET status = 'succeeded', output = %(output)s::jsonb, output_at = %(output_at)s, finished_at = now()
    WHERE id = %(run)s AND status IN ('queued', 'running', 'paused') AND ending IS NULL RETURNING id),
gone AS (DELETE FROM segments s USING finished f WHERE s.run_id = f.id)
INSERT INTO run_events (run_id, tenant_id, type) SELECT id, %(tenant)s, 'run.succeeded' FROM finished
"""

DONE = """
DELETE FROM segments WHERE run_id = %(run)s AND segment = %(segment)s AND item = %(item)s AND lo = %(lo)s
"""

_TERMINAL = "('succeeded', 'failed', 'skipped', 'blocked', 'cancelled', 'timed_out')"

# Who publishes: the worker that inserts the row, unless it is due later or its queue is full; then the dispatcher does.
_MINE = "(f.mine AND r.status <> 'paused')"
_DUE = "coalesce(f.due_at, now() + make_interval(secs => f.delay), now())"
_AT_ONCE = """(f.due_at IS NULL AND f.delay IS NULL AND r.status <> 'paused' AND (f.mine OR NOT EXISTS (
           SELECT 1 FROM full_queues q WHERE q.queue = f.queue AND q.until > now())))"""

_INSERT = f"""
INSERT INTO segments (run_id, segment, item, lo, hi, tenant_id, queue, patience, state, due_at, held_due,
                      published_at, publications, fence, worker, task_id, lease_until, deadline)
SELECT %(run)s, f.segment, f.item, f.lo, f.hi, %(tenant)s, f.queue, f.patience,
       CASE WHEN {_MINE} THEN 'leased' ELSE 'ready' END,
       CASE WHEN r.status = 'paused' THEN {HELD} ELSE {_DUE} END,
       CASE WHEN r.status = 'paused' THEN {_DUE} END,
       CASE WHEN {_AT_ONCE} THEN now() END, CASE WHEN {_AT_ONCE} THEN 1 ELSE 0 END,
       CASE WHEN {_MINE} THEN %(fence)s::uuid END, CASE WHEN {_MINE} THEN %(worker)s END,
       CASE WHEN {_MINE} THEN %(task_id)s END, CASE WHEN {_MINE} THEN now() + make_interval(secs => %(lease)s) END,
       CASE WHEN {_MINE} THEN now() + make_interval(secs => f.patience * greatest(f.hi - f.lo, 1)) END
"""

# A gate fires when its needs' rows say so and nobody fired it: the primary key lets one insert win.
FIRE = (
    _INSERT
    + f"""
FROM runs r, jsonb_to_recordset(%(followers)s::jsonb) AS f(segment int, item text, lo int, hi int, queue text,
    patience float8, needs jsonb, quorum int, own jsonb, above jsonb, mine bool, delay float8, due_at timestamptz)
WHERE r.id = %(run)s AND r.ending IS NULL AND r.finished_at IS NULL
  AND (NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text(f.needs) AS n(step) WHERE NOT EXISTS (
            SELECT 1 FROM steps s WHERE s.run_id = %(run)s AND s.step = n.step AND s.item = f.item
                AND s.state IN {_TERMINAL} AND s.unpassed IS NULL))
       OR (f.quorum IS NOT NULL AND f.quorum <= (
            SELECT count(*) FROM jsonb_array_elements_text(f.needs) AS n(step)
            JOIN steps s ON s.run_id = %(run)s AND s.step = n.step AND s.item = f.item AND s.state = 'succeeded'
                AND s.unpassed IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM jsonb_to_recordset(f.above) AS a(step text, item text)
        JOIN steps s ON s.run_id = %(run)s AND s.step = a.step AND s.item = a.item AND s.state IN {_TERMINAL})
  AND NOT EXISTS (SELECT 1 FROM steps s
        WHERE s.run_id = %(run)s AND s.step = ANY (ARRAY(SELECT jsonb_array_elements_text(f.own))) AND s.item = f.item
          AND s.state <> 'retrying' AND s.unpassed IS NULL)
ON CONFLICT DO NOTHING
RETURNING segment, item, lo, hi, state = 'leased', published_at IS NULL AND state = 'ready'
"""
)

# The lane's turn: the foreach's row is its turnstile, so lanes that end together take their turns one by one.
# An item of many segments may be ended by several at once; the one whose record it is takes the turn.
_MY_TURN = """
    (%(ended)s::text IS NULL OR EXISTS (SELECT 1 FROM steps e WHERE e.run_id = %(run)s AND e.step = %(foreach)s
        AND e.item = %(ended)s AND e.cursor = %(segment)s))
"""

TAKE = f"""
UPDATE steps SET cursor = cursor + %(take)s
WHERE run_id = %(run)s AND step = %(foreach)s AND item = %(prefix)s AND state = 'running' AND {_MY_TURN}
"""

_TURN = f"""
    SELECT s.cursor - %(take)s AS lo, LEAST(s.cursor, coalesce(s.items_count, jsonb_array_length(s.items))) AS hi,
           coalesce(s.items_count, jsonb_array_length(s.items)) AS total
    FROM steps s WHERE s.run_id = %(run)s AND s.step = %(foreach)s AND s.item = %(prefix)s AND s.state = 'running'
      AND {_MY_TURN}
"""

MOVE_LANE = f"""
UPDATE segments s SET lo = t.lo, hi = t.hi, attempts = 0, losses = 0, verdict = NULL,
    deadline = now() + make_interval(secs => s.patience * (t.hi - t.lo))
FROM ({_TURN}) t
WHERE s.run_id = %(run)s AND s.segment = %(segment)s AND s.item = %(item)s AND s.lo = %(lo)s AND t.lo < t.total
RETURNING s.lo, s.hi
"""

NEXT_ITEM = f"""
INSERT INTO segments (run_id, segment, item, tenant_id, queue, patience, published_at, publications)
SELECT %(run)s, e.segment, %(stem)s || t.lo, %(tenant)s, e.queue, e.patience, now(), 1
FROM ({_TURN}) t, jsonb_to_recordset(%(entries)s::jsonb) AS e(segment int, queue text, patience float8)
WHERE t.lo < t.total
  AND EXISTS (SELECT 1 FROM runs r WHERE r.id = %(run)s AND r.ending IS NULL)
ON CONFLICT DO NOTHING
RETURNING segment, item, lo, hi, false
"""

CLOSE_FOREACH = (
    _INSERT
    + f"""
FROM runs r, ({_TURN}) t,
     jsonb_to_recordset(%(followers)s::jsonb) AS f(segment int, item text, lo int, hi int, queue text, patience float8,
                                                   mine bool, delay float8, due_at timestamptz)
WHERE t.lo >= t.total
  AND t.total = (SELECT count(*) FROM steps s WHERE s.run_id = %(run)s AND s.step = %(foreach)s
                 AND s.item <> %(prefix)s AND starts_with(s.item, %(stem)s) AND s.state IN {_TERMINAL})
  AND r.id = %(run)s AND r.ending IS NULL
ON CONFLICT DO NOTHING
RETURNING segment, item, lo, hi, state = 'leased', published_at IS NULL AND state = 'ready'
"""
)

DROP_SCOPE = """
DELETE FROM segments WHERE run_id = %(run)s AND segment = ANY(%(dropped)s) AND state = 'ready'
  AND (item = %(under)s OR starts_with(item, %(stem)s))
"""

# What is inside of something that failed: `steps` are paths, `under` the item, `stem` to `beyond` the items below it.
_INSIDE = """
run_id = %(run)s AND step = ANY(%(steps)s) AND (item = %(under)s OR (item >= %(stem)s AND item < %(beyond)s))
"""

CANCEL_STEPS = f"""
WITH cancelled AS (
    UPDATE steps SET state = 'cancelled', finished_at = clock_timestamp()
    WHERE {_INSIDE} AND state = ANY(%(states)s)
    RETURNING step, item)
INSERT INTO run_events (run_id, tenant_id, type, step, item)
SELECT %(run)s, %(tenant)s, 'step.cancelled', step, item FROM cancelled
"""

# The runs that steps inside of something that failed wait for.
_CALLED = """
parent_run = %(run)s AND parent_segment IS NOT NULL AND finished_at IS NULL AND parent_step = ANY(%(calls)s)
    AND (parent_item = %(under)s OR (parent_item >= %(stem)s AND parent_item < %(beyond)s))
"""

CANCEL_CALLED = f"""
UPDATE runs SET ending = 'cancelled', ending_at = now(), cause = 'user', error = %(error)s::jsonb
WHERE {_CALLED} AND ending IS NULL
"""

IS_LEFT = f"""
SELECT EXISTS (SELECT 1 FROM segments WHERE run_id = %(run)s AND segment = ANY(%(dropped)s)
    AND (item = %(under)s OR starts_with(item, %(stem)s)))
    OR (cardinality(%(calls)s::text[]) > 0 AND EXISTS (SELECT 1 FROM runs WHERE {_CALLED}))
"""

# Of what is not needed any more: a worker that is at it stops behind the step that it does.
STOP = """
UPDATE segments SET stopped = true WHERE run_id = %(run)s AND segment = ANY(%(dropped)s) AND state = 'leased'
    AND (item = %(under)s OR starts_with(item, %(stem)s))
RETURNING segment, item
"""

CANCEL_RECORDS = f"""
WITH cancelled AS (
    INSERT INTO steps (run_id, step, item, tenant_id, state, attempts, started_at, finished_at)
    SELECT %(run)s, r.step, %(under)s, %(tenant)s, 'cancelled', 0, NULL, clock_timestamp()
    FROM unnest(%(rest)s::text[]) AS r(step)
    ON CONFLICT (run_id, step, item) DO UPDATE SET state = 'cancelled', finished_at = excluded.finished_at
        WHERE steps.state NOT IN {_TERMINAL}
    RETURNING step, item)
INSERT INTO run_events (run_id, tenant_id, type, step, item)
SELECT %(run)s, %(tenant)s, 'step.cancelled', step, item FROM cancelled
"""

# The steps that succeeded inside of something that failed and are to be undone, the last one first.
TO_UNDO = f"""
SELECT s.step, s.item FROM steps s
WHERE {_INSIDE} AND state = 'succeeded' AND NOT EXISTS (SELECT 1 FROM steps u WHERE u.run_id = s.run_id
    AND u.step = s.step || '/compensate' AND u.item = s.item AND u.finished_at IS NOT NULL)
ORDER BY s.finished_at DESC, array_position(%(steps)s, s.step) DESC, s.item DESC LIMIT 1
"""

NOT_UNDONE = f"""
SELECT left(s.step, -11), s.item, s.error FROM steps s
WHERE {_INSIDE} AND state IN ('failed', 'timed_out') ORDER BY s.finished_at LIMIT 20
"""

WAIT = """
UPDATE segments SET state = 'ready', fence = NULL, worker = NULL, task_id = NULL, lease_until = NULL, deadline = NULL,
    verdict = NULL, published_at = NULL, due_at = now() + make_interval(secs => %(delay)s), attempts = %(attempts)s
WHERE run_id = %(run)s AND segment = %(segment)s AND item = %(item)s AND lo = %(lo)s
"""

HAND_OVER = f"""
UPDATE segments s SET state = 'ready', fence = NULL, worker = NULL, task_id = NULL, lease_until = NULL, deadline = NULL,
    published_at = CASE WHEN r.status <> 'paused' THEN now() END, publications = 1, attempts = %(attempts)s,
    held_due = CASE WHEN r.status = 'paused' THEN s.due_at END,
    due_at = CASE WHEN r.status = 'paused' THEN {HELD} ELSE s.due_at END
FROM runs r
WHERE r.id = s.run_id AND s.run_id = %(run)s AND s.segment = %(segment)s AND s.item = %(item)s AND s.lo = %(lo)s
"""

WAKE = "SELECT pg_notify('nexusflow_work', '')"
GOES_ON = """
SELECT r.ending IS NULL, r.status <> 'paused', s.stopped FROM runs r JOIN segments s ON s.run_id = r.id
WHERE r.id = %(run)s AND s.segment = %(segment)s AND s.item = %(item)s AND s.lo = %(lo)s
"""
