"""Tenants are kept apart by the database itself, whatever a query says."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, RestrictViolation

from nexusflow.db.provision import RUNTIME_ROLE
from nexusflow.settings import CONTROL_ROLE
from tests.integration.db.rows import INSERTS, act_as, insert
from tests.servers.databases import Database

POLICY = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
APPEND_ONLY = {"workflow_versions", "run_events"}
REFUSED = (InsufficientPrivilege, RestrictViolation)


@pytest.fixture
def runtime(filled: Database) -> Iterator[psycopg.Connection]:
    """A transaction of the runtime role that is undone."""
    with psycopg.connect(filled.runtime_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def control(filled: Database) -> Iterator[psycopg.Connection]:
    """A transaction of the control role that is undone."""
    with psycopg.connect(filled.control_url) as connection:
        yield connection
        connection.rollback()


def test_every_tenant_table_has_forced_policies(filled: Database) -> None:
    with psycopg.connect(filled.owner_url) as connection:
        found = connection.execute(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, c.relispartition FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
        policies = connection.execute(
            "SELECT tablename, qual, with_check FROM pg_policies WHERE roles = ARRAY[%s]::name[]", (RUNTIME_ROLE,)
        ).fetchall()
    assert all(forced for _, forced, _ in found)
    tables = {name for name, _, partition in found if not partition}
    assert tables == set(INSERTS)
    assert len(found) - len(tables) >= 3 * 4
    written = {name: (qual, check) for name, qual, check in policies if name in tables}
    assert written == dict.fromkeys(tables, (POLICY, POLICY))
    assert {name for name, *_ in policies} - tables == {"tenants"}


@pytest.mark.parametrize("table", INSERTS)
def test_a_tenant_reads_its_own_rows_alone(filled: Database, runtime: psycopg.Connection, table: str) -> None:
    act_as(runtime, filled.tenant_a)
    found = runtime.execute(f"SELECT DISTINCT tenant_id FROM {table}").fetchall()
    assert found == [(filled.tenant_a,)]


@pytest.mark.parametrize("table", INSERTS)
def test_without_a_tenant_there_is_nothing(runtime: psycopg.Connection, table: str) -> None:
    assert runtime.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    runtime.execute("SELECT set_config('app.tenant_id', '', true)")
    assert runtime.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize("table", INSERTS)
def test_a_tenant_cannot_insert_for_another(filled: Database, runtime: psycopg.Connection, table: str) -> None:
    act_as(runtime, filled.tenant_a)
    insert(runtime, table, filled.tenant_a)
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        insert(runtime, table, filled.tenant_b)


@pytest.mark.parametrize("table", INSERTS)
@pytest.mark.parametrize("statement", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}"])
def test_a_tenant_cannot_change_anothers_rows(
    filled: Database, runtime: psycopg.Connection, table: str, statement: str
) -> None:
    act_as(runtime, filled.tenant_a)
    try:
        changed = runtime.execute(statement.format(table) + " WHERE tenant_id = %s", (filled.tenant_b,)).rowcount
    except REFUSED:
        return
    assert changed == 0


@pytest.mark.parametrize("table", ["workflows", "runs", "steps", "segments", "files"])
def test_a_tenant_cannot_give_a_row_away(filled: Database, runtime: psycopg.Connection, table: str) -> None:
    act_as(runtime, filled.tenant_a)
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        runtime.execute(f"UPDATE {table} SET tenant_id = %s", (filled.tenant_b,))


@pytest.mark.parametrize("role", [RUNTIME_ROLE, CONTROL_ROLE])
def test_the_roles_have_no_power(filled: Database, role: str) -> None:
    with psycopg.connect(filled.owner_url) as connection:
        powers = connection.execute(
            "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles"
            " WHERE rolname = %s",
            (role,),
        ).fetchone()
        owned = connection.execute("SELECT count(*) FROM pg_class WHERE relowner = %s::regrole", (role,)).fetchone()
    assert (powers, owned) == ((False,), (0,))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT input FROM runs",
        "SELECT output FROM runs",
        "SELECT error FROM runs",
        "SELECT * FROM steps",
        "SELECT source FROM workflow_versions",
        "SELECT data FROM object_chunks",
        "SELECT data FROM run_events",
        "SELECT data FROM signals",
        "SELECT name, key FROM signals",
        "DELETE FROM runs",
        "UPDATE runs SET input = '{}'",
    ],
)
def test_the_control_role_cannot_touch_tenants_data(control: psycopg.Connection, query: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        control.execute(query)


def test_the_control_role_sees_every_tenants_schedule(filled: Database, control: psycopg.Connection) -> None:
    found = control.execute("SELECT DISTINCT tenant_id FROM segments").fetchall()
    assert {tenant for (tenant,) in found} == {filled.tenant_a, filled.tenant_b}


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "timed_out"])
def test_a_terminal_run_never_changes(filled: Database, runtime: psycopg.Connection, status: str) -> None:
    act_as(runtime, filled.tenant_a)
    runtime.execute("UPDATE runs SET status = %s", (status,))
    with pytest.raises(RestrictViolation, match="cannot change"):
        runtime.execute("UPDATE runs SET status = 'running'")


@pytest.mark.parametrize("state", ["expired", "refused"])
def test_a_signal_that_is_over_never_changes(filled: Database, runtime: psycopg.Connection, state: str) -> None:
    act_as(runtime, filled.tenant_a)
    runtime.execute("UPDATE signals SET state = %s", (state,))
    with pytest.raises(RestrictViolation, match="cannot change"):
        runtime.execute("UPDATE signals SET state = 'kept'")


@pytest.mark.parametrize("state", ["succeeded", "failed", "skipped", "blocked", "cancelled", "timed_out"])
def test_a_terminal_step_never_changes(filled: Database, runtime: psycopg.Connection, state: str) -> None:
    act_as(runtime, filled.tenant_a)
    runtime.execute("UPDATE steps SET state = %s", (state,))
    with pytest.raises(RestrictViolation, match="cannot change"):
        runtime.execute("UPDATE steps SET output = '1'")


def test_a_state_that_is_none_is_refused(filled: Database, runtime: psycopg.Connection) -> None:
    act_as(runtime, filled.tenant_a)
    with pytest.raises(CheckViolation):
        runtime.execute("UPDATE runs SET status = 'done'")


@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
@pytest.mark.parametrize("statement", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"])
def test_events_and_versions_are_only_added(
    filled: Database, runtime: psycopg.Connection, table: str, statement: str
) -> None:
    act_as(runtime, filled.tenant_a)
    with pytest.raises(REFUSED):
        runtime.execute(statement.format(table))


@pytest.mark.parametrize("table", ["runs", "steps"])
def test_history_is_never_deleted_by_the_runtime(filled: Database, runtime: psycopg.Connection, table: str) -> None:
    act_as(runtime, filled.tenant_a)
    with pytest.raises(InsufficientPrivilege):
        runtime.execute(f"DELETE FROM {table}")
