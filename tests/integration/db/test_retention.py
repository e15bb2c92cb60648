"""Old months go with their values and files, and never one that a live run needs."""

import datetime
import io
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nexusflow import storage
from nexusflow.db.session import control_session
from nexusflow.workflows.rows import retention
from tests.integration.db.owners import owned_database, settings_of
from tests.integration.db.rows import act_as
from tests.servers.databases import Database
from tests.servers.postgres import PostgresServer

DAY = datetime.timedelta(days=1)


@pytest.fixture
def owned(postgres: PostgresServer, tmp_path: Path) -> Iterator[Database]:
    """A database of a plain owner; files and values are in it."""
    made = owned_database(postgres)
    with settings_of(made, retention_days=90):
        yield made
    postgres.drop_database(made.name)


def month_before(count: int) -> datetime.datetime:
    """The middle of the month so many months ago."""
    moment = datetime.datetime.now(datetime.UTC).replace(day=15)
    for _ in range(count):
        moment = moment.replace(day=1) - DAY
    return moment.replace(day=15)


def an_id(moment: datetime.datetime) -> str:
    """A UUIDv7 of a moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return str(uuid.UUID(f"{milliseconds:012x}7{uuid.uuid4().hex[13:]}"))


def add_month(database: Database, moment: datetime.datetime, *, live: bool = False) -> str:
    """The partitions of a month with a run, its step, its event, a large value and a file; gives the run."""
    name = f"{moment:%Y_%m}"
    low, high = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0), None
    high = (low + 32 * DAY).replace(day=1)
    tenant, run, file = str(database.tenant_a), an_id(moment), an_id(moment)
    with psycopg.connect(database.owner_url) as owner:
        for table in ("runs", "steps", "run_events"):
            if owner.execute("SELECT to_regclass(%s)", (f"{table}_{name}",)).fetchone() != (None,):
                continue
            bounds = owner.execute("SELECT uuid_floor(%s), uuid_floor(%s)", (low, high)).fetchone()
            assert bounds is not None
            owner.execute(
                f"CREATE TABLE {table}_{name} PARTITION OF {table} FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
            )
            owner.execute(f"ALTER TABLE {table}_{name} ENABLE ROW LEVEL SECURITY")
            owner.execute(f"ALTER TABLE {table}_{name} FORCE ROW LEVEL SECURITY")
    key = storage.put(tenant, run, b"[1]" * 1000)
    kept = storage.put(tenant, file, io.BytesIO(b"a file"))
    with psycopg.connect(database.runtime_url) as runtime:
        act_as(runtime, database.tenant_a)
        runtime.execute(
            "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input_at, status, finished_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, CASE WHEN NOT %s THEN now() END)",
            (run, tenant, run, run, key, "running" if live else "succeeded", live),
        )
        runtime.execute(
            "INSERT INTO steps (run_id, step, tenant_id, state) VALUES (%s, 'a', %s, 'failed')", (run, tenant)
        )
        runtime.execute(
            "INSERT INTO run_events (run_id, tenant_id, type) VALUES (%s, %s, 'run.accepted')", (run, tenant)
        )
        runtime.execute(
            "INSERT INTO files (id, tenant_id, name, media_type, size, sha256, kept_at)"
            " VALUES (%s, %s, 'f', 't', 6, '', %s)",
            (file, tenant, kept),
        )
    return run


def months(database: Database) -> set[str]:
    """The months that have something: partitions, objects or files."""
    with psycopg.connect(database.owner_url) as owner:
        tables = owner.execute(
            "SELECT replace(substr(relname, 6), '_', '-') FROM pg_class WHERE relname ~ '^(runs)_[0-9]{4}_[0-9]{2}$'"
        ).fetchall()
        objects = owner.execute("SELECT substr(key, 4, 7) FROM object_chunks").fetchall()
        files = owner.execute("SELECT substr(kept_at, 4, 7) FROM files").fetchall()
    return {name for (name,) in tables + objects + files}


def test_old_months_go_and_those_of_live_runs_stay(owned: Database) -> None:
    """A run that still lives holds its own month, and the one before, whose files it may have been given."""
    moments = [month_before(count) for count in (9, 8, 7, 6, 5)]
    names = [f"{moment:%Y-%m}" for moment in moments]
    for moment, live in zip(moments, (False, False, True, False, False), strict=True):
        add_month(owned, moment, live=live)
    young = add_month(owned, month_before(1))
    assert [(each.month, each.runs, each.live) for each in retention.old_months()] == [
        (names[0], 1, 0), (names[1], 1, 1), (names[2], 1, 1), (names[3], 1, 0), (names[4], 1, 0)
    ]  # fmt: skip
    gone = retention.prune()
    assert (gone.months, gone.held) == ([names[0], *names[3:]], names[1:3])
    assert gone.chunks == 6
    left = months(owned)
    assert left.isdisjoint({names[0], *names[3:]})
    assert left >= set(names[1:3])
    again = retention.prune()
    assert (again.months, again.chunks) == ([], 0)
    with psycopg.connect(owned.runtime_url) as runtime:
        act_as(runtime, owned.tenant_a)
        runtime.execute("UPDATE runs SET status = 'succeeded', finished_at = now() WHERE status = 'running'")
    assert retention.prune().months == names[1:3]
    with psycopg.connect(owned.owner_url) as owner:
        assert owner.execute("SELECT id::text FROM runs").fetchall() == [(young,)]
        assert owner.execute("SELECT count(*) FROM files").fetchone() == (1,)


def test_two_at_once_and_busy_tables(owned: Database) -> None:
    """One does it, the other finds nothing; who reads the month is not waited for long."""
    run = add_month(owned, month_before(6))
    with psycopg.connect(owned.owner_url) as reader:
        assert reader.execute("SELECT count(*) FROM runs WHERE id = %s", (run,)).fetchone() == (1,)
        assert retention.prune().months == []
    found: list[retention.Pruned] = []
    threads = [threading.Thread(target=lambda: found.append(retention.prune())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(each.months) for each in found) == 1


def test_a_folders_objects_go_too(owned: Database, tmp_path: Path) -> None:
    with settings_of(owned, retention_days=90, storage_url=tmp_path.as_uri()):
        add_month(owned, month_before(6))
        add_month(owned, month_before(1))
        gone = retention.prune()
    assert (gone.objects, len(gone.months)) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == [f"{month_before(1):%Y-%m}"]


def test_a_storage_that_is_away_holds_back_its_months_alone(owned: Database, tmp_path: Path) -> None:
    add_month(owned, month_before(6))
    with psycopg.connect(owned.runtime_url) as runtime:
        act_as(runtime, owned.tenant_a)
        runtime.execute(
            "INSERT INTO idempotency_keys VALUES (%s, 'old', '', '{}', now() - interval '8 days')", (owned.tenant_a,)
        )
    away = (tmp_path / "not-mounted").as_uri()
    with settings_of(owned, retention_days=90, storage_url=away), pytest.raises(storage.StorageAway):
        retention.prune()
    with psycopg.connect(owned.owner_url) as owner:
        left = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM idempotency_keys)"
        assert owner.execute(left).fetchone() == (1, 0)


def test_the_control_role_cannot_drop_what_is_young_or_lives(owned: Database) -> None:
    young, old = month_before(2), month_before(6)
    add_month(owned, young)
    add_month(owned, old, live=True)
    for moment in (young, old):
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        with control_session() as connection:
            given = {"days": 0, "month": first, "most": 10}
            assert connection.execute(retention.PRUNE_OBJECTS, given | {"days": 90}).scalar_one() == 0
            assert not connection.execute(retention.PRUNE_MONTH, given | {"days": 90}).scalar_one()
    with psycopg.connect(owned.runtime_url) as runtime, pytest.raises(psycopg.errors.InsufficientPrivilege):
        runtime.execute("SELECT * FROM old_months(1)")


def test_an_owner_that_sees_no_runs_drops_none(owned: Database) -> None:
    """As after the tables were given to another owner: nothing live is seen, so nothing may be taken for dead."""
    month = add_month(owned, month_before(6), live=True)
    with psycopg.connect(owned.owner_url) as owner:
        owner.execute("DROP POLICY owner_reads ON runs")
        assert owner.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert retention.old_months() == []
    assert retention.prune().months == []
    with psycopg.connect(owned.server.url_of(owned.name)) as connection:
        assert connection.execute("SELECT id::text FROM runs").fetchall() == [(month,)]


def add_delivered(runtime: psycopg.Connection, tenant: uuid.UUID, *, is_read: bool) -> str:
    """An old signal that was given to a wait, which is over if it has read it."""
    signal, run = an_id(month_before(6)), an_id(month_before(0))
    runtime.execute(
        "INSERT INTO signals (id, tenant_id, name, state, received_at, expires_at, delivered_at, run_id, step)"
        " VALUES (%s, %s, 'paid', 'delivered', now() - interval '91 days', now(), now(), %s, 'rest')",
        (signal, tenant, run),
    )
    if not is_read:
        runtime.execute(
            "INSERT INTO segments (run_id, segment, tenant_id, queue, event, event_key, event_step, signal_id)"
            " VALUES (%s, 1, %s, 'workflow', 'paid', '', 'rest', %s)",
            (run, tenant, signal),
        )
    return signal


def test_old_rows_of_other_kinds_go(owned: Database) -> None:
    tenant = owned.tenant_a
    with psycopg.connect(owned.runtime_url) as runtime:
        act_as(runtime, tenant)
        for days, key in ((8, "old"), (6, "young")):
            runtime.execute(
                "INSERT INTO idempotency_keys (tenant_id, key, fingerprint, created_at)"
                " VALUES (%s, %s, 'f', now() - make_interval(days => %s))",
                (tenant, key, days),
            )
        for days, state in ((91, "started"), (91, "due"), (89, "started")):
            runtime.execute(
                "INSERT INTO ticks (schedule_id, at, tenant_id, workflow_id, state, made_at)"
                " VALUES (gen_random_uuid(), now(), %s, gen_random_uuid(), %s, now() - make_interval(days => %s))",
                (tenant, state, days),
            )
        rest = "now() - make_interval(days => %s), now() + make_interval(days => %s))"
        for days, state, expires in ((91, "expired", -80), (91, "refused", -80), (91, "kept", 1), (89, "expired", -80)):
            runtime.execute(
                "INSERT INTO signals (id, tenant_id, name, state, received_at, expires_at)"
                f" VALUES (gen_random_uuid(), %s, 'paid', %s, {rest}",
                (tenant, state, days, expires),
            )
        add_delivered(runtime, tenant, is_read=True)
        unread = add_delivered(runtime, tenant, is_read=False)
        for name, hours in (("old", -1), ("young", 1)):
            runtime.execute(
                "INSERT INTO cached_outputs (tenant_id, digest, expires_at)"
                " VALUES (%s, sha256(%s::bytea), now() + make_interval(hours => %s))",
                (tenant, name, hours),
            )
    with psycopg.connect(owned.control_url) as control:
        for hours, name in ((25, "old"), (23, "young")):
            control.execute(
                "INSERT INTO processes (name, kind, host, pid, version, seen_at)"
                " VALUES (%s, 'worker', 'h', 1, '1', now() - make_interval(hours => %s))",
                (name, hours),
            )
    gone = {"idempotency keys": 1, "ticks": 1, "processes": 1, "signals": 3, "cached outputs": 1}
    assert retention.prune().rows == gone
    with psycopg.connect(owned.owner_url) as owner:
        left = owner.execute("SELECT state, id::text FROM signals ORDER BY state").fetchall()
    assert [state for state, _ in left] == ["delivered", "expired", "kept"]
    assert left[0][1] == unread, "its wait has not read it yet"
