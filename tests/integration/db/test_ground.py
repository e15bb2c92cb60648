"""The set-up of a database, its partitions, and what start-up refuses."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest
from pydantic import SecretStr

from nexusflow.db.provision import check_version, newest_revision, provision
from nexusflow.db.session import runtime_engine, tenant_session
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import Settings, use_settings
from tests.servers.databases import CONTROL_PASSWORD, RUNTIME_PASSWORD, Database
from tests.servers.postgres import PostgresServer

PARENTS = ("runs", "steps", "run_events")


@pytest.fixture
def use_url() -> Iterator[Callable[[str], None]]:
    """Let this process serve under the given address."""
    yield lambda url: use_settings(Settings(database_url=SecretStr(url)))
    use_settings(None)


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database("empty")
    yield url
    postgres.drop_database("empty")


def _role(database: Database, name: str, powers: str) -> str:
    with psycopg.connect(database.server.url_of(database.name), autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {name}")
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {powers}")
    return database.server.url_of(database.name, name, "secret")


@pytest.mark.parametrize(
    ("powers", "why"),
    [
        ("SUPERUSER", "is a superuser or has BYPASSRLS"),
        ("BYPASSRLS", "is a superuser or has BYPASSRLS"),
        ("IN ROLE owner", "owns tables"),
    ],
)
def test_start_up_refuses_a_role_with_power(
    filled: Database, use_url: Callable[[str], None], powers: str, why: str
) -> None:
    use_url(_role(filled, "strong", powers))
    with pytest.raises(ClusterUnusable, match=why) as refused:
        runtime_engine()
    assert "nexusflow_app" in refused.value.hint


def test_start_up_takes_the_runtime_role(filled: Database, use_url: Callable[[str], None]) -> None:
    use_url(filled.runtime_url)
    with tenant_session(str(filled.tenant_a)) as connection:
        assert connection.exec_driver_sql("SELECT count(DISTINCT tenant_id) FROM runs").scalar() == 1


def test_a_transaction_leaves_no_tenant_behind(filled: Database, use_url: Callable[[str], None]) -> None:
    use_url(filled.runtime_url)
    with tenant_session(str(filled.tenant_a)) as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with runtime_engine().connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() == pid
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0


def test_partitions_are_there_before_they_are_needed(filled: Database) -> None:
    """This month's and three more of each table; what is made again is nothing."""
    with psycopg.connect(filled.control_url, autocommit=True) as connection:
        assert connection.execute("SELECT make_partitions(3)").fetchone() == (0,)
    with psycopg.connect(filled.owner_url) as connection:
        names = {name for (name,) in connection.execute("SELECT relname FROM pg_class WHERE relispartition")}
    month = datetime.now(UTC).replace(day=1)
    for _ in range(4):
        assert {f"{parent}_{month:%Y_%m}" for parent in PARENTS} <= names
        month = (month + timedelta(days=32)).replace(day=1)


def test_partitions_are_made_by_any_number_at_once(filled: Database) -> None:
    def make(_: int) -> int:
        with psycopg.connect(filled.control_url, autocommit=True) as connection:
            row = connection.execute("SELECT make_partitions(9)").fetchone()
        return int(row[0]) if row else 0

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(4)))
    assert sorted(made) == [0, 0, 0, 6 * len(PARENTS)]


def test_the_runtime_role_makes_no_partitions(filled: Database) -> None:
    with psycopg.connect(filled.runtime_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT make_partitions(3)")


def test_sets_up_once_from_several_processes_and_again(empty: str) -> None:
    def set_up(_: int) -> None:
        provision(empty, RUNTIME_PASSWORD, CONTROL_PASSWORD)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(set_up, range(3)))
    set_up(0)
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest_revision(),)]


def test_refuses_a_database_of_a_newer_release(empty: str) -> None:
    provision(empty, RUNTIME_PASSWORD, CONTROL_PASSWORD)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ClusterUnusable, match="9999"):
        provision(empty, RUNTIME_PASSWORD, CONTROL_PASSWORD)


def test_says_which_server_is_too_old() -> None:
    def server(version: int) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(server_version=version))

    with pytest.raises(ClusterUnusable, match="PostgreSQL 14 is too old") as refused:
        check_version(server(140_011))
    assert "15" in refused.value.hint
    check_version(server(150_000))


def test_an_unreachable_server_is_named(use_url: Callable[[str], None]) -> None:
    use_url("postgresql://nexusflow_app:x@127.0.0.1:1/none")
    with pytest.raises(ClusterUnusable, match="PostgreSQL cannot be used"):
        runtime_engine()
