"""Connections that break: the error says so, and what comes after works."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from nexusflow.db.session import control_session, runtime_engine, tenant_pipeline, tenant_session
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.rows.statements import HOLD

if TYPE_CHECKING:
    from tests.servers.databases import Database

NOBODY = "0199aaaa-0000-7000-8000-00000000000c"
NOTHING = {"run": NOBODY, "segment": 0, "item": "", "lo": 0, "fence": NOBODY}


@pytest.fixture
def tenant(database: "Database") -> Iterator[str]:
    use_settings(
        Settings(
            database_url=SecretStr(database.runtime_url),
            control_database_url=SecretStr(database.control_url),
            database_pool_size=1,
        )
    )
    yield str(database.tenant_a)
    use_settings(None)


def _count(tenant: str, *, held: bool) -> None:
    """One round trip of a statement, behind a hold that is refused or not asked for."""
    with tenant_pipeline(tenant) as pipeline:
        pipeline.begin()
        if held:
            pipeline.run(HOLD, NOTHING)
        answer = pipeline.run("SELECT count(*) FROM segments WHERE run_id = %(run)s", NOTHING)
    assert answer.fetchone() == (0,)


@pytest.mark.parametrize("before", range(7))
def test_pipelines_that_fail_leave_no_connection_behind_that_cannot_work(before: int, tenant: str) -> None:
    """At any number of uses before the failure: psycopg prepares a statement at its sixth."""
    runtime_engine().dispose()
    for _ in range(before):
        _count(tenant, held=False)
    for _ in range(3):
        with pytest.raises(psycopg.Error, match="no longer held"):
            _count(tenant, held=True)
    for _ in range(8):
        _count(tenant, held=False)


@pytest.mark.parametrize("kind", ["tenant", "control"])
def test_a_session_cut_in_the_middle_is_unusable_and_the_next_one_works(
    kind: str, tenant: str, database: "Database"
) -> None:
    session = (lambda: tenant_session(tenant)) if kind == "tenant" else control_session

    def cut() -> None:
        with session() as connection:
            own = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with psycopg.connect(database.owner_url, autocommit=True) as owner:
                owner.execute("SELECT pg_terminate_backend(%s)", (own,))
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(ClusterUnusable, match="PostgreSQL cannot be used"):
        cut()
    with session() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
