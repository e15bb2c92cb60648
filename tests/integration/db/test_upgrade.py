"""From the schema of the release before, with runs in flight: nothing is lost, and who works goes on."""

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest
import sqlalchemy as sa
import uuid_utils
from alembic import command

from nexusflow.connectors.base import FileRef
from nexusflow.db.provision import Upgrade, alembic_config, newest_revision, plan_upgrade, provision
from nexusflow.db.session import sqlalchemy_url
from nexusflow.errors import ClusterUnusable
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.rows.files import open_file
from nexusflow.workflows.saved.catalogue import catalogue
from nexusflow.workflows.saved.versions import read_definition
from tests.integration.cluster import Cluster
from tests.integration.conftest import QUICK
from tests.integration.db.owners import add_tenants, empty_database, settings_of
from tests.integration.db.rows import act_as
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform
from tests.servers.databases import CONTROL_PASSWORD, RUNTIME_PASSWORD, Database
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

FILE = b"a,b\r\n" * 300_000
CHUNK = 1_048_576


@pytest.fixture
def old(postgres: PostgresServer) -> Iterator[Database]:
    """A database of a plain owner, at revision 0001."""
    made = empty_database(postgres)
    _migrate(made, "0001")
    add_tenants(made)
    yield made
    postgres.drop_database(made.name)


def _migrate(database: Database, revision: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(database.owner_url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def _add_run(runtime: psycopg.Connection, tenant: Any, steps: list[dict[str, Any]]) -> str:
    """A run as the release before started it."""
    source = orjson.dumps({"nexusflow": "1", "name": "old", "steps": steps})
    definition = read_definition(source)
    plan = compile_plan(definition, catalogue())
    config = orjson.dumps(definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)).decode()
    workflow, version, run = (str(uuid_utils.uuid7()) for _ in range(3))
    runtime.execute(
        "INSERT INTO workflows (id, tenant_id, name, config, status) VALUES (%s, %s, %s, %s, 'published')",
        (workflow, tenant, workflow, config),
    )
    runtime.execute(
        "INSERT INTO workflow_versions (id, tenant_id, workflow_id, number, digest, source, config, plan)"
        " VALUES (%s, %s, %s, 1, 'd', %s, %s, %s)",
        (version, tenant, workflow, source.decode(), config, orjson.dumps(plan.to_json()).decode()),
    )
    runtime.execute(
        "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input) VALUES (%s, %s, %s, %s, '{}')",
        (run, tenant, workflow, version),
    )
    for entry in plan.scopes[""].entries:
        runtime.execute(
            "INSERT INTO segments (run_id, segment, tenant_id, queue) VALUES (%s, %s, %s, %s)",
            (run, entry, tenant, plan.segments[entry].queue),
        )
    return run


def _add_file(runtime: psycopg.Connection, tenant: Any) -> FileRef:
    """A file as the release before kept it."""
    file, digest = str(uuid_utils.uuid7()), hashlib.sha256(FILE).hexdigest()
    runtime.execute(
        "INSERT INTO files (id, tenant_id, name, media_type, size, sha256) VALUES (%s, %s, 'f.csv', 't', %s, %s)",
        (file, tenant, len(FILE), digest),
    )
    for number in range(0, len(FILE), CHUNK):
        runtime.execute(
            "INSERT INTO file_chunks (file_id, number, tenant_id, data) VALUES (%s, %s, %s, %s)",
            (file, number // CHUNK, tenant, FILE[number : number + CHUNK]),
        )
    return FileRef.model_validate(
        {"$file": file, "name": "f.csv", "media_type": "t", "size": len(FILE), "sha256": digest}
    )


class OldWorker(threading.Thread):
    """Writes as the release before did: claims a segment of its own, records a step and an event, again and again."""

    def __init__(self, database: Database, run: str) -> None:
        super().__init__()
        self.database, self.run_id, self.count, self.failures = database, run, 0, list[str]()
        self.is_over = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self.database.runtime_url, autocommit=True) as runtime:
            while not self.is_over.is_set():
                try:
                    self._once(runtime)
                except psycopg.Error as error:
                    self.failures.append(str(error))

    def _once(self, runtime: psycopg.Connection) -> None:
        tenant, step = self.database.tenant_a, f"s{self.count}"
        with runtime.transaction():
            act_as(runtime, tenant)
            runtime.execute("UPDATE segments SET attempts = attempts + 1 WHERE run_id = %s", (self.run_id,))
            runtime.execute(
                "INSERT INTO steps (run_id, step, item, tenant_id, state, output)"
                " VALUES (%s, %s, '', %s, 'failed', '1')",
                (self.run_id, step, tenant),
            )
            runtime.execute(
                "INSERT INTO run_events (run_id, tenant_id, type, step, item) VALUES (%s, %s, 'step.failed', %s, '')",
                (self.run_id, tenant, step),
            )
            runtime.execute("SELECT input, status FROM runs WHERE id = %s", (self.run_id,)).fetchone()
        self.count += 1


def test_runs_in_flight_and_files_survive_an_upgrade(
    old: Database, server_pool: Any, valkey: RedisServer, vendor: Vendor
) -> None:
    tenant = old.tenant_a
    body = vendor.step("put", body={"answer": "${{ item }}"})
    steps = [
        vendor.step("first", body={"answer": [1, 2, 3]}),
        foreach("each", "${{ steps.first.output.body }}", body, needs="first"),
        transform("last", "each", given="${{ steps.each.output }}", jq="length"),
    ]
    with psycopg.connect(old.runtime_url) as runtime:
        act_as(runtime, tenant)
        runs = [_add_run(runtime, tenant, steps) for _ in range(3)]
        busy = _add_run(runtime, tenant, steps)
        reference = _add_file(runtime, tenant)
    assert plan_upgrade(old.owner_url) == Upgrade("0001", newest_revision())
    worker = OldWorker(old, busy)
    worker.start()
    try:
        while worker.count < 20:
            assert not worker.failures
        assert provision(old.owner_url, RUNTIME_PASSWORD, CONTROL_PASSWORD) == Upgrade("0001", newest_revision())
        seen = worker.count
        while worker.count < seen + 20:
            assert not worker.failures
    finally:
        worker.is_over.set()
        worker.join()
    assert worker.failures == []
    assert not plan_upgrade(old.owner_url).changes
    with psycopg.connect(old.runtime_url) as runtime:
        act_as(runtime, tenant)
        versions = runtime.execute("SELECT DISTINCT published_version FROM workflows").fetchall()
        chunks = runtime.execute(
            "SELECT data FROM file_chunks WHERE file_id = %s ORDER BY number", (reference.file,)
        ).fetchall()
        order = runtime.execute("SELECT step FROM run_events WHERE run_id = %s ORDER BY xact, id", (busy,)).fetchall()
        runtime.execute("DELETE FROM segments WHERE run_id = %s", (busy,))
    assert versions == [(1,)]
    assert b"".join(data for (data,) in chunks) == FILE
    assert [step for (step,) in order] == [f"s{number}" for number in range(worker.count)]
    with psycopg.connect(old.runtime_url) as runtime:
        act_as(runtime, old.tenant_b)
        assert runtime.execute("SELECT count(*) FROM file_chunks").fetchone() == (0,)
    with settings_of(old), open_file(str(tenant), reference) as stream:
        assert stream.read() == FILE
    valkey.flush()
    cluster = Cluster(old, valkey.url, dict(QUICK))
    try:
        cluster.worker()
        cluster.beat()
        cluster.finish_all(runs, 40)
        for run in runs:
            assert (cluster.read(run).status, cluster.read(run).output) == ("succeeded", 3)
    finally:
        cluster.stop()


def test_an_upgrade_waits_for_nobody_long(old: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stays holds the upgrade up, and not for long everybody else."""
    monkeypatch.setattr("nexusflow.db.provision.UPGRADE_TRIES", 1)
    with psycopg.connect(old.owner_url) as reader:
        reader.execute("SELECT count(*) FROM runs")
        with pytest.raises(ClusterUnusable, match="busy"):
            provision(old.owner_url, RUNTIME_PASSWORD, CONTROL_PASSWORD)
    assert plan_upgrade(old.owner_url).changes
    provision(old.owner_url, RUNTIME_PASSWORD, CONTROL_PASSWORD)
    assert not plan_upgrade(old.owner_url).changes
