"""What control flow needs: steps that wait, runs that are paused or given up in the queue; queues that are full."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LOCKS = "LOCK TABLE segments, runs, steps IN ACCESS EXCLUSIVE MODE"

# Not validated: every row that is there fits the narrower rule before, and millions need not be read for that.
STATES = """
ALTER TABLE steps DROP CONSTRAINT steps_state_check;
ALTER TABLE steps ADD CONSTRAINT steps_state_check CHECK (state IN ('running', 'retrying', 'waiting', 'succeeded',
    'failed', 'skipped', 'blocked', 'cancelled', 'timed_out')) NOT VALID;
DROP TRIGGER steps_terminal ON steps;
CREATE TRIGGER steps_terminal BEFORE UPDATE ON steps FOR EACH ROW
    WHEN (OLD.state NOT IN ('running', 'retrying', 'waiting')) EXECUTE FUNCTION refuse_change();
"""


RUNS = """
ALTER TABLE runs ADD COLUMN start_by timestamptz;
ALTER TABLE runs DROP CONSTRAINT runs_status_check;
ALTER TABLE runs ADD CONSTRAINT runs_status_check CHECK (status IN ('queued', 'running', 'paused', 'succeeded',
    'failed', 'cancelled', 'timed_out')) NOT VALID;
ALTER TABLE segments ADD COLUMN held_due timestamptz;
CREATE INDEX runs_start_by ON runs (start_by) WHERE start_by IS NOT NULL AND status = 'queued';
GRANT SELECT (start_by) ON runs TO nexusflow_control;
"""

# Names of queues: no tenant's data.
FULL_QUEUES = """
CREATE TABLE full_queues (queue text PRIMARY KEY, until timestamptz NOT NULL);
GRANT SELECT ON full_queues TO nexusflow_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON full_queues TO nexusflow_control;
"""


def upgrade() -> None:
    op.execute(LOCKS)
    op.execute(STATES)
    op.execute(RUNS)
    op.execute(FULL_QUEUES)
