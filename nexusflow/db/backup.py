"""Backup: one consistent picture of the database in a file, taken while the cluster runs, with its stored objects.

The tables are read in one read-only snapshot. It takes no transaction id, so it holds back nobody: not the workers,
not the readers of events. Objects are copied after the rows, and never change: what a row names is there.
"""

import datetime
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import psycopg
import sqlalchemy as sa
from psycopg import sql

import nexusflow
from nexusflow.db.archive import (
    Manifest,
    Report,
    TableCopy,
    new_archive,
    write_manifest,
    write_object,
    write_table,
)
from nexusflow.db.provision import current_revision, newest_revision
from nexusflow.db.session import sqlalchemy_url, unusable
from nexusflow.errors import ClusterUnusable

LEFT_OUT = ("alembic_version", "processes", "full_queues")
"""What a restored database has of its own."""
PARENTS_FIRST = ("tenants", "workflows")
REPLACED = {("run_events", "xact"): "'0'::xid8"}
"""Numbers of this server's transactions mean nothing on another one; before all of them means: over."""

_TABLES = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> ALL(%s)
GROUP BY c.relname ORDER BY c.relname
"""
_MONTHS = """
SELECT substr(c.relname, 6) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'public.runs'::regclass AND c.relname ~ '^runs_[0-9]{4}_[0-9]{2}$' ORDER BY 1
"""
# Policies that hide rows would make a backup with nothing in it, and nobody would know.
_HIDDEN = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> ALL(%s) AND row_security_active(c.oid)
  AND NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')
      AND pg_get_expr(p.polqual, c.oid) = 'true'
      AND EXISTS (SELECT 1 FROM unnest(p.polroles) r WHERE r = 0 OR pg_has_role(r, 'USAGE')))
"""


def write_backup(
    owner_url: str, path: Path, storage: str, objects: Iterable[tuple[str, Path]], report: Report
) -> Manifest:
    """Write everything into the file ``path``, which must not be there yet.

    ``storage``: the scheme of the storage in use; ``objects``: of a folder, each object's path in it and its file.
    Raises ClusterUnusable, InvalidInput.
    """
    with unusable(), new_archive(path) as archive, _snapshot(owner_url) as (connection, driver):
        revision = _check(connection, driver)
        months = [str(name) for (name,) in driver.execute(_MONTHS)]
        tables = [_copy(archive, driver, name, columns, report) for name, columns in tables_of(driver)]
        row = driver.execute("SELECT last_value FROM run_events_id").fetchone()
        count, size = _copy_objects(archive, objects, report)
        manifest = Manifest(
            nexusflow=nexusflow.__version__,
            revision=revision,
            taken_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            storage=storage,
            months=months,
            tables=tables,
            objects=count,
            object_bytes=size,
            event_id=int(row[0]) if row else 0,
        )
        write_manifest(archive, manifest)
    return manifest


class _snapshot:  # noqa: N801 - reads as a word: with _snapshot(url)
    """A read-only transaction with one picture of all tables; nothing is altered or dropped while it lasts."""

    def __init__(self, owner_url: str) -> None:
        self._engine = sa.create_engine(sqlalchemy_url(owner_url), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")

    def __enter__(self) -> tuple[sa.Connection, psycopg.Connection]:
        self._connection = self._engine.connect()
        driver = cast(psycopg.Connection, self._connection.connection.driver_connection)
        driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        driver.execute("SET LOCAL lock_timeout = '10s'")
        names = [sql.Identifier("public", name) for name, _ in tables_of(driver)]
        if names:
            driver.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(names)))
        return self._connection, driver

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._engine.dispose()


def tables_of(driver: psycopg.Connection) -> list[tuple[str, list[str]]]:
    """The tables of a backup with their columns, those that others refer to first."""
    found = [(str(name), list(columns)) for name, columns in driver.execute(_TABLES, (list(LEFT_OUT),))]
    return sorted(found, key=lambda each: (each[0] not in PARENTS_FIRST, each[0]))


def _check(connection: sa.Connection, driver: psycopg.Connection) -> str:
    revision = current_revision(connection)
    if revision != newest_revision():
        raise ClusterUnusable(
            f"The database is at schema revision {revision}, and this NexusFlow reads {newest_revision()}.",
            "Use the NexusFlow that made it, or upgrade it first: nexusflow db upgrade.",
        )
    hidden = [str(name) for (name,) in driver.execute(_HIDDEN, (list(LEFT_OUT),))]
    if hidden:
        raise ClusterUnusable(
            f"The database user may not see all rows of {', '.join(hidden)}.",
            "Set NEXUSFLOW_OWNER_DATABASE_URL to the role that owns the tables.",
        )
    return revision or ""


def _copy(
    archive: zipfile.ZipFile, driver: psycopg.Connection, name: str, columns: list[str], report: Report
) -> TableCopy:
    shown = [sql.SQL(REPLACED[name, each]) if (name, each) in REPLACED else sql.Identifier(each) for each in columns]
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
        sql.SQL(", ").join(shown), sql.Identifier("public", name)
    )

    def rows() -> Iterator[bytes]:
        with driver.cursor() as cursor, cursor.copy(query) as copy:
            for piece in copy:
                yield bytes(piece)

    made = write_table(archive, name, columns, rows())
    if made.rows:
        report(f"{name}: {made.rows:,} rows")
    return made


def _copy_objects(archive: zipfile.ZipFile, objects: Iterable[tuple[str, Path]], report: Report) -> tuple[int, int]:
    count = size = 0
    for name, file in objects:
        try:
            size += write_object(archive, name, file)
        except FileNotFoundError:
            continue  # past its retention, and deleted just now
        count += 1
    if count:
        report(f"objects: {count:,}")
    return count, size
