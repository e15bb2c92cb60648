"""Connections to PostgreSQL: tenants' data only under their tenant, scheduling tables under the control role.

The only place that commits. Work on a hot path takes the psycopg connection and pipelines its statements
(``tenant_pipeline``); everything else uses SQLAlchemy's ``tenant_session``.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson
import psycopg
import sqlalchemy as sa
from psycopg.types.json import set_json_loads
from pydantic import SecretStr

from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings

# PostgreSQL gives 1e300 back as 301 digits: orjson reads the same number, json an integer that nothing can write again.
set_json_loads(orjson.loads)

APPLICATION_NAME = "nexusflow"
PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's: a server behind a network that swallows packets is noticed in half a minute, not in hours."""
AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.PendingRollbackError,
    sa.exc.TimeoutError,
)
"""What the drivers raise when a server cannot be reached, breaks off, or has no connection left to give."""
DATABASE_DOWN = (*AWAY, ClusterUnusable)
"""What work that needs the database meets while it is away."""


@contextmanager
def unusable() -> Iterator[None]:
    """Turn a database that cannot be reached or refuses work into ClusterUnusable."""
    try:
        yield
    except AWAY as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else "the connection was lost"
        raise ClusterUnusable(
            f"PostgreSQL cannot be used: {reason}", "Check the database URL and that the server runs: nexusflow doctor."
        ) from error


def sqlalchemy_url(url: str) -> sa.URL:
    """The URL with psycopg 3 as its driver; raises ClusterUnusable for something that is no PostgreSQL URL."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ClusterUnusable(
            "The database URL cannot be read.", "Write it postgresql://user:password@host:port/name."
        ) from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ClusterUnusable(
            f"'{parsed.drivername}' is no PostgreSQL URL.", "Write it postgresql://user:password@host:port/name."
        )
    return parsed.set(drivername="postgresql+psycopg")


_engines: dict[tuple[str, int], sa.Engine] = {}
_making = threading.Lock()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock. The parent's engines stay, unused: they are not ours."""
    global _making  # noqa: PLW0603 - the one a forked process begins with
    _making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _engine(url: str) -> sa.Engine:
    """One engine a URL and process: a pool must not cross a fork."""
    key = url, os.getpid()
    if (found := _engines.get(key)) is not None:
        return found
    with _making:
        if key not in _engines:
            _engines[key] = _make_engine(url)
        return _engines[key]


def close_connections() -> None:
    """Close what this process keeps open; whoever needs a connection opens it again."""
    with _making:
        while _engines:
            (_, pid), engine = _engines.popitem()
            engine.dispose(close=pid == os.getpid())


def _make_engine(url: str) -> sa.Engine:
    engine = sa.create_engine(
        sqlalchemy_url(url),
        pool_size=get_settings().database_pool_size,
        max_overflow=get_settings().database_pool_size,
        pool_timeout=20,
        pool_recycle=1800,
        connect_args={"application_name": APPLICATION_NAME, "autocommit": True, **PATIENCE},
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # they are tenants' data, and errors are logged
    )
    try:
        _refuse_power(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _refuse_power(engine: sa.Engine) -> None:
    """Refuse to serve as a role that could bypass the tenants' policies."""
    with unusable(), engine.connect() as connection:
        row = connection.execute(
            sa.text(
                "SELECT rolname, rolsuper OR rolbypassrls AS powerful,"
                " EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                "  WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"
                "  AND pg_has_role(c.relowner, 'MEMBER')) AS owns"
                " FROM pg_roles WHERE rolname = current_user"
            )
        ).one()
    if row.powerful or row.owns:
        why = "is a superuser or has BYPASSRLS" if row.powerful else "owns tables"
        raise ClusterUnusable(
            f"The database role '{row.rolname}' {why}, so row-level security would not hold.",
            "Use the runtime role nexusflow_app and the control role nexusflow_control that provisioning makes.",
        )


def _url(value: SecretStr | None, variable: str) -> str:
    if value is None:
        raise ClusterUnusable(
            "No database is configured.", f"Set {variable}, or start an embedded cluster: nexusflow run FILE."
        )
    return value.get_secret_value()


def runtime_engine() -> sa.Engine:
    """This process's engine under the runtime role; raises ClusterUnusable."""
    return _engine(_url(get_settings().database_url, "NEXUSFLOW_DATABASE_URL"))


def control_engine() -> sa.Engine:
    """This process's engine under the control role; raises ClusterUnusable."""
    return _engine(_url(get_settings().control_database_url, "NEXUSFLOW_CONTROL_DATABASE_URL"))


@contextmanager
def tenant_session(tenant_id: str) -> Iterator[sa.Connection]:
    """A transaction that sees and writes only this tenant's rows; committed at the end, rolled back on an error."""
    with unusable(), runtime_engine().connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            connection.execute(sa.text("SELECT set_config('app.tenant_id', :tenant, true)"), {"tenant": str(tenant_id)})
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            _rollback(connection)
            raise


@contextmanager
def joined_session(tenant_id: str, connection: sa.Connection | None) -> Iterator[sa.Connection]:
    """The transaction that is given, which its owner ends; without one, a ``tenant_session``."""
    if connection is not None:
        yield connection
        return
    with tenant_session(tenant_id) as own:
        yield own


@contextmanager
def control_session() -> Iterator[sa.Connection]:
    """A transaction on the scheduling tables of all tenants, under the control role."""
    with unusable(), control_engine().connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            _rollback(connection)
            raise


def _rollback(connection: sa.Connection) -> None:
    """Never hides the error that led here: a connection that cannot roll back is thrown away."""
    try:
        connection.exec_driver_sql("ROLLBACK")
    except sa.exc.SQLAlchemyError:
        connection.invalidate()


class Pipeline:
    """Transactions of one tenant sent in one round trip: ``begin``, ``run`` …, ``begin``, ``run`` …

    Each ``begin`` commits what came before it. Cursors hold their results once the pipeline's block has ended.
    """

    def __init__(self, connection: psycopg.Connection, tenant_id: str) -> None:
        self._connection = connection
        self._tenant = tenant_id
        self._open = False

    def begin(self, *, synchronous: bool = True) -> None:
        """Commit what came before and start a transaction; ``synchronous=False`` where a lost commit is only redone."""
        self.commit()
        self._connection.execute("BEGIN")
        if not synchronous:
            self._connection.execute("SET LOCAL synchronous_commit = off")
        self._connection.execute("SELECT set_config('app.tenant_id', %s, true)", (self._tenant,))
        self._open = True

    def run(self, statement: str, parameters: dict[str, Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        """Send a statement; its rows can be fetched after the block."""
        return self._connection.execute(statement, parameters)

    def commit(self) -> None:
        """Commit the open transaction, if there is one."""
        if self._open:
            self._connection.execute("COMMIT")
            self._open = False


@contextmanager
def tenant_pipeline(tenant_id: str) -> Iterator[Pipeline]:
    """A Pipeline on a pooled connection; on an error nothing of the failing transaction and none after it happened.

    Raises psycopg.OperationalError when the connection is lost: the caller decides whether to try again.
    """
    pooled = runtime_engine().raw_connection()
    connection = cast(psycopg.Connection, pooled.driver_connection)
    try:
        with connection.pipeline():
            pipeline = Pipeline(connection, tenant_id)
            yield pipeline
            pipeline.commit()
    except BaseException:
        # Of statements skipped by an aborted pipeline psycopg may believe that they are prepared: the connection
        # would fail at its next uses, so it is not used again.
        connection.close()
        pooled.invalidate()
        raise
    finally:
        pooled.close()
