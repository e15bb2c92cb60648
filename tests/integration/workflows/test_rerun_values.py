"""Large values that a rerun keeps outlive the run that they come from."""

import datetime
import uuid

import psycopg
import sqlalchemy as sa

from nexusflow import storage
from nexusflow.db.session import tenant_session
from nexusflow.workflows.rows import models, values
from nexusflow.workflows.starts import service
from nexusflow.workflows.starts.rerunning import Asked, rerun
from tests.servers.databases import Database

TWO_STEPS = b"""\
nexusflow: "1"
name: two-steps
steps:
  - { id: first, type: transform, with: { jq: . } }
  - { id: last, type: transform, needs: [first], with: { jq: . } }
"""
LARGE = [1] * 200_000


def _failed(database: Database, version: service.Version, moment: datetime.datetime) -> tuple[str, str]:
    """A run of that moment whose input and first output are large, and whose last step failed; and a value's key."""
    tenant = str(database.tenant_a)
    run = str(uuid.UUID(f"{int(moment.timestamp() * 1000):012x}7{uuid.uuid4().hex[13:]}"))
    inline, key = values.stored(tenant, run, LARGE)
    assert inline is None
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        owner.execute(
            "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input_at, status, finished_at)"
            " VALUES (%s, %s, %s, %s, %s, 'failed', now())",
            (run, tenant, version.workflow, version.id, values.stored(tenant, run, {"list": LARGE})[1]),
        )
        for step, state, kept_at in (("first", "succeeded", key), ("last", "failed", None)):
            owner.execute(
                "INSERT INTO steps (run_id, step, tenant_id, state, output_at, finished_at)"
                " VALUES (%s, %s, %s, %s, %s, now())",
                (run, step, tenant, state, kept_at),
            )
    return run, str(key)


def _kept(tenant: str, run: str) -> tuple[str, str]:
    steps, runs = models.steps.c, models.runs.c
    with tenant_session(tenant) as connection:
        output = connection.execute(sa.select(steps.output_at).where(steps.run_id == run)).scalar_one()
        return str(output), str(connection.execute(sa.select(runs.input_at).where(runs.id == run)).scalar_one())


def test_values_of_an_older_month_are_kept_once_more(database: Database, tenant: str) -> None:
    version = service.save_version(tenant, TWO_STEPS)
    last_month = datetime.datetime.now(datetime.UTC).replace(day=1) - datetime.timedelta(days=3)
    old, key = _failed(database, version, last_month)
    new = rerun(tenant, old, Asked())
    output, given = _kept(tenant, new.id)
    assert {storage.parse_key(each, tenant).owner for each in (output, given)} == {new.id}
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("DELETE FROM object_chunks WHERE key LIKE %s", (f"{key.partition('/')[0]}/%",))
    assert values.read(tenant, None, output) == LARGE
    assert values.read(tenant, None, given) == {"list": LARGE}


def test_values_of_this_month_are_named_by_their_key(database: Database, tenant: str) -> None:
    version = service.save_version(tenant, TWO_STEPS)
    old, key = _failed(database, version, datetime.datetime.now(datetime.UTC))
    assert _kept(tenant, rerun(tenant, old, Asked()).id)[0] == key
