"""Leases as a worker keeps them: renewed while their tasks run, let go when a process died, handed back at its end."""

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.settings import get_settings
from nexusflow.workflows.rows.statements import WAKE

RENEW = sa.text(
    "UPDATE segments SET lease_until = now() + make_interval(secs => :lease)"
    " WHERE state = 'leased' AND task_id = ANY(:tasks)"
    " AND (deadline IS NULL OR deadline > now())"
)
RELEASE = sa.text(
    "UPDATE segments SET lease_until = now() - interval '1 second' WHERE state = 'leased' AND task_id = :task"
)

# Ready and due again, so that the next pass of a dispatcher publishes it. No loss: nothing accuses the step.
HAND_BACK = sa.text("""
WITH freed AS (
    UPDATE segments SET state = 'ready', fence = NULL, worker = NULL, task_id = NULL, lease_until = NULL,
        deadline = NULL, published_at = NULL, publications = 0
    WHERE state = 'leased' AND task_id = ANY(:tasks)
    RETURNING run_id, tenant_id, segment, item),
noted AS (
    INSERT INTO run_events (run_id, tenant_id, type, item, data)
    SELECT run_id, tenant_id, 'segment.recovered', item,
           jsonb_build_object('segment', segment, 'reason', 'worker ended') FROM freed)
SELECT count(*) FROM freed
""")


def renew(tasks: list[str]) -> int:
    """Renew the leases that these Celery tasks hold; gives how many. Raises ClusterUnusable."""
    if not tasks:
        return 0
    with control_session() as connection:
        return connection.execute(RENEW, {"tasks": tasks, "lease": get_settings().lease_seconds}).rowcount


def release(task: str) -> None:
    """Let the leases of a task whose process died run out now. Raises ClusterUnusable."""
    with control_session() as connection:
        connection.execute(RELEASE, {"task": task})


def hand_back(tasks: list[str]) -> int:
    """Give up what these Celery tasks hold, for others to take at once; gives how many. Raises ClusterUnusable."""
    if not tasks:
        return 0
    with control_session() as connection:
        freed = int(connection.execute(HAND_BACK, {"tasks": tasks}).scalar_one())
        connection.execute(sa.text(WAKE))
    return freed
