"""Restore: a backup into an empty database, all of it or nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import psycopg
import sqlalchemy as sa
from alembic import command
from psycopg import sql

from nexusflow.db.archive import DamagedBackup, Manifest, Report, TableCopy, object_names, pieces_of, whole_archive
from nexusflow.db.backup import tables_of
from nexusflow.db.provision import (
    PROVISION_LOCK,
    alembic_config,
    check_version,
    current_revision,
    ensure_roles,
    known_revisions,
    newest_revision,
)
from nexusflow.db.session import sqlalchemy_url, unusable
from nexusflow.errors import ClusterUnusable, NexusError

PARTITIONED = ("runs", "steps", "run_events")


class NotEmpty(NexusError):
    """A database that holds something: a restore never mixes."""

    def __init__(self, table: str) -> None:
        super().__init__(
            "NOT_EMPTY", f"The database is not empty: there are rows in {table}.", "Restore into a new database.", 409
        )


def restore_backup(
    owner_url: str, passwords: tuple[str, str], path: Path, folder: Path | None, report: Report
) -> Manifest:
    """Fill the empty database of the owner's URL from a backup, and bring it to the newest schema.

    ``passwords``: the runtime's and the control role's; ``folder``: where stored objects lie, if not in the database.
    Raises InvalidInput, DamagedBackup, NotEmpty, ClusterUnusable; the database is then as it was.
    """
    with whole_archive(path, report) as (archive, manifest), unusable():
        _check_manifest(manifest, folder, path)
        engine = sa.create_engine(sqlalchemy_url(owner_url), poolclass=sa.NullPool)
        written: list[Path] = []
        try:
            with engine.connect() as connection:
                driver = cast(psycopg.Connection, connection.connection.driver_connection)
                driver.execute(f"SELECT pg_advisory_lock({PROVISION_LOCK})")
                check_version(driver)
                _refuse_unless_empty(connection, driver, manifest)
                ensure_roles(driver, *passwords)
                connection.commit()
                report("making the schema")
                with connection.begin():  # Alembic commits by itself unless it finds a transaction
                    _migrate(connection, manifest.revision)
                    _fill(driver, manifest, lambda table: pieces_of(archive, table.member), path, report)
                    _migrate(connection, "head")
                    if folder is not None:
                        for name in object_names(archive):
                            _keep(folder, name, pieces_of(archive, f"objects/{name}"), written)
        except BaseException:
            for each in written:
                each.unlink(missing_ok=True)
            raise
        finally:
            engine.dispose()
    return manifest


def _check_manifest(manifest: Manifest, folder: Path | None, path: Path) -> None:
    if manifest.revision not in known_revisions():
        raise ClusterUnusable(
            f"{path} has schema revision {manifest.revision}, and this NexusFlow knows {newest_revision()}.",
            f"Use NexusFlow {manifest.nexusflow} or newer.",
        )
    if manifest.objects and folder is None:
        raise ClusterUnusable(
            f"{path} holds {manifest.objects:,} stored objects of a folder.",
            "Set NEXUSFLOW_STORAGE_URL to file:///folder for them.",
        )


def _refuse_unless_empty(connection: sa.Connection, driver: psycopg.Connection, manifest: Manifest) -> None:
    """No schema at all, or the backup's own without a row in it."""
    revision = current_revision(connection)
    tables = tables_of(driver)
    if revision is None and tables:
        raise NotEmpty(tables[0][0])
    if revision is not None and revision != manifest.revision:
        raise ClusterUnusable(
            f"The database has schema revision {revision}, the backup {manifest.revision}.",
            "Restore into a new database without a schema: it is made, and upgraded afterwards.",
        )
    # Row-level security may hide rows from the owner, but not from the transaction that lifts it, which is undone.
    with driver.transaction(force_rollback=True):
        _bind_owner(driver, [name for name, _ in tables], bound=False)
        for name, _ in tables:
            if driver.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(_table(name))).fetchone():
                raise NotEmpty(name)


def _migrate(connection: sa.Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _fill(
    driver: psycopg.Connection,
    manifest: Manifest,
    pieces: Callable[[TableCopy], Iterator[bytes]],
    path: Path,
    report: Report,
) -> None:
    names = [table.name for table in manifest.tables]
    _bind_owner(driver, names, bound=False)
    for month in manifest.months:
        _make_month(driver, month)
    for table in manifest.tables:
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in table.columns)
        query = sql.SQL("COPY {} ({}) FROM STDIN").format(_table(table.name), columns)
        try:
            with driver.cursor() as cursor:
                with cursor.copy(query) as copy:
                    for piece in pieces(table):
                        copy.write(piece)
                count = cursor.rowcount
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            raise DamagedBackup(path, f"{table.name}: {str(error).splitlines()[0]}") from error
        if count != table.rows:
            raise DamagedBackup(path, f"{table.name} has {count:,} rows instead of {table.rows:,}")
        if table.rows:
            report(f"{table.name}: {table.rows:,} rows")
    driver.execute("SELECT setval('run_events_id', greatest(%s, 1))", (manifest.event_id,))
    _bind_owner(driver, names, bound=True)


def _bind_owner(driver: psycopg.Connection, tables: list[str], *, bound: bool) -> None:
    """Whether the tables' policies bind their owner too; only within a transaction that binds it again or is undone."""
    verb = sql.SQL("FORCE" if bound else "NO FORCE")
    for name in tables:
        driver.execute(sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY").format(_table(name), verb))


def _make_month(driver: psycopg.Connection, month: str) -> None:
    """A month's partitions, as ``make_partitions`` makes them for the months to come."""
    year, number = (int(part) for part in month.split("_"))
    low, high = (f"{year}-{number:02}-01Z", f"{year + number // 12}-{number % 12 + 1:02}-01Z")
    bounds = driver.execute("SELECT uuid_floor(%s::timestamptz), uuid_floor(%s::timestamptz)", (low, high)).fetchone()
    for parent in PARTITIONED:
        name = f"{parent}_{month}"
        if driver.execute("SELECT to_regclass(%s)", (f"public.{name}",)).fetchone() != (None,):
            continue
        driver.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                _table(name), _table(parent), *(sql.Literal(str(bound)) for bound in bounds or ())
            )
        )
        driver.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(_table(name)))
        driver.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(_table(name)))


def _keep(folder: Path, name: str, pieces: Iterator[bytes], written: list[Path]) -> None:
    target = folder / name
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.touch(mode=0o600)
    written.append(target)
    with target.open("wb") as file:
        for piece in pieces:
            file.write(piece)


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("public", name)
