"""What people do with a run that goes on: cancel it, pause it, resume it. Each is decided in one transaction."""

import orjson
import sqlalchemy as sa

from nexusflow.db.session import joined_session
from nexusflow.errors import NotFound
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.rows.statements import HELD, WAKE

_STATUS = sa.text("SELECT status FROM runs WHERE id = :run")

# In the order in which workers lock them, segments before their run: else a first claim and a pause wait for each
# other, or the claim goes on with a run that it does not know to be paused.
_LOCK = sa.text("SELECT 1 FROM segments WHERE run_id = :run ORDER BY segment, item, lo FOR UPDATE")

_CANCEL = sa.text(
    "UPDATE runs SET ending = 'cancelled', ending_at = now(), cause = 'user', error = :error"
    " WHERE id = :run AND ending IS NULL AND finished_at IS NULL"
)

# The status alone keeps workers from claiming anything; what is ready is put off besides, so that nobody tries.
_PAUSE = sa.text(f"""
WITH paused AS (
    UPDATE runs SET status = 'paused' WHERE id = :run AND status IN ('queued', 'running') AND ending IS NULL
    RETURNING id, tenant_id),
held AS (
    UPDATE segments s SET held_due = s.due_at, due_at = {HELD}, published_at = NULL, publications = 0
    FROM paused p WHERE s.run_id = p.id AND s.state = 'ready')
INSERT INTO run_events (run_id, tenant_id, type) SELECT id, tenant_id, 'run.paused' FROM paused
""")  # noqa: S608 - a constant of this program

# The run and the children it waits for, at any depth.
_TREE = sa.text("""
WITH RECURSIVE tree AS (
    SELECT id FROM runs WHERE id = :run
    UNION ALL
    SELECT c.id FROM runs c JOIN tree t ON c.parent_run = t.id WHERE c.parent_segment IS NOT NULL
        AND c.finished_at IS NULL)
SELECT id FROM tree
""")

_RESUME = sa.text("""
WITH resumed AS (
    UPDATE runs SET status = CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END
    WHERE id = :run AND status = 'paused' RETURNING id, tenant_id),
released AS (
    UPDATE segments s SET due_at = coalesce(s.held_due, s.due_at), held_due = NULL, published_at = NULL,
        publications = 0
    FROM resumed r WHERE s.run_id = r.id AND s.state = 'ready')
INSERT INTO run_events (run_id, tenant_id, type) SELECT id, tenant_id, 'run.resumed' FROM resumed
""")


def cancel_run(tenant: str, run: str, *, connection: sa.Connection | None = None) -> str:
    """Ask a run to end: nothing new starts, and it is cancelled once nothing of it runs. Gives its status now.

    So are the runs that it called and waits for. A run that is over stays as it is. Raises NotFound.
    """
    error = {"code": "CANCELLED", "message": "The run was cancelled.", "cause": "user"}
    return _change(tenant, run, _CANCEL, connection, error=orjson.dumps(error).decode())


def pause_run(tenant: str, run: str, *, connection: sa.Connection | None = None) -> str:
    """Hold a run: nothing new of it starts, what a worker is at may finish. Gives its status now.

    So are the runs that it called and waits for. Times go on: a wait or a timeout that ends meanwhile counts at once
    when the run is resumed. A run that is over, or ending, stays as it is. Raises NotFound.
    """
    return _change(tenant, run, _PAUSE, connection)


def resume_run(tenant: str, run: str, *, connection: sa.Connection | None = None) -> str:
    """Let a paused run go on where it was, and with it those it waits for. Gives its status now.

    One that is not paused stays as it is. Raises NotFound.
    """
    return _change(tenant, run, _RESUME, connection)


def _change(tenant: str, run: str, statement: sa.TextClause, connection: sa.Connection | None, **given: str) -> str:
    status = None
    if is_id(run):
        with joined_session(tenant, connection) as session:
            if statement is _CANCEL:
                session.execute(statement, {"run": run, **given})  # a trigger passes it on to those it waits for
            else:
                for row in session.execute(_TREE, {"run": run}).all():
                    session.execute(_LOCK, {"run": row.id})
                    session.execute(statement, {"run": row.id})
            session.execute(sa.text(WAKE))
            status = session.execute(_STATUS, {"run": run}).scalar_one_or_none()
    if status is None:
        raise NotFound(f"There is no run {run[:80]}.")
    return str(status)
