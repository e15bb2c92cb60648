"""A backup is everything at one moment, and a restore everything or nothing; also for an owner that is no superuser."""

import json
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nexusflow import storage
from nexusflow.db.archive import DamagedBackup
from nexusflow.db.backup import write_backup
from nexusflow.db.restore import NotEmpty, restore_backup
from nexusflow.errors import ClusterUnusable, InvalidInput
from nexusflow.storage import folder
from tests.integration.db.owners import empty_database, owned_database, settings_of
from tests.integration.db.rows import INSERTS, act_as, fill
from tests.integration.db.test_retention import add_month, month_before
from tests.servers.databases import CONTROL_PASSWORD, RUNTIME_PASSWORD, Database
from tests.servers.postgres import PostgresServer

PASSWORDS = (RUNTIME_PASSWORD, CONTROL_PASSWORD)


@pytest.fixture
def places(postgres: PostgresServer) -> Iterator[tuple[Database, Database]]:
    """A database with rows in every table, and an empty one; their owner is no superuser."""
    full, empty = owned_database(postgres), empty_database(postgres)
    with psycopg.connect(postgres.url_of(full.name)) as connection:
        for tenant in (full.tenant_a, full.tenant_b):
            fill(connection, tenant)
    with settings_of(full):
        add_month(full, month_before(7))
    yield full, empty
    for each in (full, empty):
        postgres.drop_database(each.name)


def content(database: Database) -> dict[str, list[Any]]:
    """All rows, as a superuser sees them."""
    shown: dict[str, list[Any]] = {}
    with psycopg.connect(database.server.url_of(database.name)) as connection:
        for table in ("tenants", *INSERTS):
            columns = "id, run_id, type" if table == "run_events" else "*"
            rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
            shown[table] = sorted(rows, key=str)
    return shown


def back_up(database: Database, path: Path) -> list[str]:
    """Back up a database without a folder; gives what was reported."""
    told: list[str] = []
    write_backup(database.owner_url, path, "db", (), told.append)
    return told


def is_untouched(database: Database) -> bool:
    with psycopg.connect(database.owner_url) as owner:
        return owner.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchone() == (0,)


def test_everything_comes_back(places: tuple[Database, Database], tmp_path: Path) -> None:
    full, empty = places
    file = tmp_path / "backup"
    assert any("runs: 3 rows" in each for each in back_up(full, file))
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput, match="there already"):
        back_up(full, file)
    manifest = restore_backup(empty.owner_url, PASSWORDS, file, None, lambda _: None)
    assert content(empty) == content(full)
    assert {table.name for table in manifest.tables} == {"tenants", *INSERTS}
    with psycopg.connect(empty.runtime_url) as runtime:
        assert runtime.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        act_as(runtime, empty.tenant_a)
        assert runtime.execute("SELECT count(*) FROM runs").fetchone() == (2,)
        run, xact = runtime.execute("SELECT run_id, xact::text FROM run_events LIMIT 1").fetchone() or ("", "")
        assert xact == "0"
        statement = "INSERT INTO run_events (run_id, tenant_id, type) VALUES (%s, %s, 'x') RETURNING id"
        last = runtime.execute(statement, (run, empty.tenant_a)).fetchone()
        assert last is not None
        assert last[0] > max(row[0] for row in content(full)["run_events"])
    with psycopg.connect(empty.owner_url) as owner:
        unforced = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT (relrowsecurity AND relforcerowsecurity)"
        ).fetchall()
    assert {name for (name,) in unforced} == {"alembic_version", "processes", "full_queues"}
    with pytest.raises(NotEmpty):
        restore_backup(empty.owner_url, PASSWORDS, file, None, lambda _: None)
    assert tmp_path.joinpath("backup").exists()
    assert list(tmp_path.glob(".*")) == []


def test_a_backup_is_one_moment_while_work_goes_on(places: tuple[Database, Database], tmp_path: Path) -> None:
    full, empty = places
    stop, is_under_way = threading.Event(), threading.Event()

    def write() -> None:
        with psycopg.connect(full.runtime_url, autocommit=True) as runtime:
            while not stop.is_set():
                with runtime.transaction():
                    act_as(runtime, full.tenant_a)
                    run = runtime.execute(
                        "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input)"
                        " VALUES (uuid_floor(now()), %s, %s, %s, '{}') ON CONFLICT DO NOTHING RETURNING id",
                        (full.tenant_a, uuid.uuid4(), uuid.uuid4()),
                    ).fetchone()
                    if run:
                        runtime.execute(
                            "INSERT INTO segments (run_id, segment, tenant_id, queue) VALUES (%s, 7, %s, 'workflow')",
                            (run[0], full.tenant_a),
                        )
                is_under_way.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert is_under_way.wait(10)
        back_up(full, tmp_path / "backup")
    finally:
        stop.set()
        thread.join()
    restore_backup(empty.owner_url, PASSWORDS, tmp_path / "backup", None, lambda _: None)
    with psycopg.connect(empty.server.url_of(empty.name)) as connection:
        pairs = connection.execute(
            "SELECT count(*), count(r.id), count(s.run_id) FROM runs r"
            " FULL JOIN (SELECT * FROM segments WHERE segment = 7) s ON s.run_id = r.id"
            " WHERE s.run_id IS NOT NULL OR r.id = uuid_floor(r.accepted_at)"
        ).fetchone()
    assert pairs is not None
    assert pairs[0] == pairs[1] == pairs[2] > 0


def _change(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive with members changed or left out."""
    changed = path.with_suffix(".changed")
    changed.unlink(missing_ok=True)
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(changed, "w") as made:
        for name in given.namelist():
            data = change(name, given.read(name))
            if data is not None:
                made.writestr(name, data)
    return changed


def _with_a_row_twice(path: Path) -> Path:
    """An archive with good checksums whose rows break a constraint."""
    import hashlib

    with zipfile.ZipFile(path) as given:
        rows = given.read("tables/tenants.copy") * 2
        manifest = json.loads(given.read("manifest.json"))
    table = next(each for each in manifest["tables"] if each["name"] == "tenants")
    table.update(sha256=hashlib.sha256(rows).hexdigest(), bytes=len(rows), rows=table["rows"] * 2)
    new = {"tables/tenants.copy": rows, "manifest.json": json.dumps(manifest).encode()}
    return _change(path, new.get)


def test_what_is_damaged_changes_nothing(places: tuple[Database, Database], tmp_path: Path) -> None:
    full, empty = places
    file = tmp_path / "backup"
    back_up(full, file)
    cut, other = tmp_path / "cut", tmp_path / "other"
    cut.write_bytes(file.read_bytes()[:-200])
    other.write_text("no backup")
    changed = [
        lambda: cut,
        lambda: other,
        lambda: _change(file, lambda name, data: data.replace(b"tenant-a", b"tenant-x")),
        lambda: _change(file, lambda name, data: None if name == "tables/runs.copy" else data),
        lambda: _change(file, lambda name, data: None if name == "manifest.json" else data),
        lambda: _change(file, lambda name, data: data.replace(b'"format": 1', b'"format": 2')),
        lambda: _with_a_row_twice(file),
    ]
    for make in changed:
        with pytest.raises(DamagedBackup):
            restore_backup(empty.owner_url, PASSWORDS, make(), None, lambda _: None)
        assert is_untouched(empty)
    newer = _change(file, lambda name, data: data.replace(b'"revision": "0', b'"revision": "9'))
    with pytest.raises(ClusterUnusable, match="revision"):
        restore_backup(empty.owner_url, PASSWORDS, newer, None, lambda _: None)
    with pytest.raises(InvalidInput, match="no file"):
        restore_backup(empty.owner_url, PASSWORDS, tmp_path / "none", None, lambda _: None)
    restore_backup(empty.owner_url, PASSWORDS, file, None, lambda _: None)


def test_a_folders_objects_are_in_it(places: tuple[Database, Database], tmp_path: Path) -> None:
    full, empty = places
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    tenant, run = str(full.tenant_a), str(full.tenant_b)
    with settings_of(full, storage_url=first.as_uri()):
        key = storage.put(tenant, run, b"[1, 2]")
        made = write_backup(full.owner_url, tmp_path / "backup", "file", folder.every_object(), lambda _: None)
    assert (made.objects, made.object_bytes) == (1, 6)
    evil = _change(tmp_path / "backup", lambda name, data: b"[1, 3]" if name.startswith("objects/") else data)
    with pytest.raises(DamagedBackup):
        restore_backup(empty.owner_url, PASSWORDS, evil, second, lambda _: None)
    with pytest.raises(ClusterUnusable, match="NEXUSFLOW_STORAGE_URL"):
        restore_backup(empty.owner_url, PASSWORDS, tmp_path / "backup", None, lambda _: None)
    assert is_untouched(empty)
    assert list(second.rglob("*")) == []
    restore_backup(empty.owner_url, PASSWORDS, tmp_path / "backup", second, lambda _: None)
    with settings_of(empty, storage_url=second.as_uri()):
        assert storage.get(tenant, key) == b"[1, 2]"


def test_a_role_that_cannot_see_all_is_refused(places: tuple[Database, Database], tmp_path: Path) -> None:
    full, _ = places
    with pytest.raises(ClusterUnusable, match="may not see all rows"):
        write_backup(full.runtime_url, tmp_path / "backup", "db", (), lambda _: None)
    assert list(tmp_path.iterdir()) == []
