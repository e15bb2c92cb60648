"""What reruns need: which run one repeats, from where, whose id stands in its keys, and which records it has kept."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LOCKS = "LOCK TABLE runs, steps IN ACCESS EXCLUSIVE MODE"

# `origin`: the run whose id stands in the idempotency keys; `fresh`: the steps that have another run's there.
# `kept_from`: the run in which the step was done; `unpassed`: this run has not come to it yet, so it is no need's end.
COLUMNS = """
ALTER TABLE runs ADD COLUMN rerun_of uuid, ADD COLUMN rerun_from text, ADD COLUMN origin uuid, ADD COLUMN fresh jsonb;
ALTER TABLE steps ADD COLUMN kept_from uuid, ADD COLUMN unpassed boolean;
CREATE INDEX runs_reruns ON runs (rerun_of) WHERE rerun_of IS NOT NULL;
DROP TRIGGER steps_terminal ON steps;
CREATE TRIGGER steps_terminal BEFORE UPDATE ON steps FOR EACH ROW
    WHEN (OLD.state NOT IN ('running', 'retrying', 'waiting') AND (OLD.unpassed IS NULL
          OR (NEW.state, NEW.output, NEW.output_at, NEW.error) IS DISTINCT FROM
             (OLD.state, OLD.output, OLD.output_at, OLD.error)))
    EXECUTE FUNCTION refuse_change();
"""

# One trigger more, whichever there are. Not validated: every row that is there fits the narrower rule before.
TRIGGERS = """
DO $$
DECLARE known text;
BEGIN
    SELECT string_agg(quote_literal(word[1]), ', ') INTO known
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z_]+)''', 'g') AS word
    WHERE c.conrelid = 'public.runs'::regclass AND c.conname = 'runs_trigger_check';
    ALTER TABLE runs DROP CONSTRAINT runs_trigger_check;
    EXECUTE format('ALTER TABLE runs ADD CONSTRAINT runs_trigger_check CHECK (trigger IN (%s, ''rerun'')) NOT VALID',
                   known);
END $$;
"""


def upgrade() -> None:
    op.execute(LOCKS)
    op.execute(COLUMNS)
    op.execute(TRIGGERS)
