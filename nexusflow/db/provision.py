"""Set up a database: its roles, and its schema at the newest revision."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from pydantic import SecretStr

from nexusflow.db.session import sqlalchemy_url, unusable
from nexusflow.errors import ClusterUnusable, NexusError
from nexusflow.settings import CONTROL_ROLE, get_settings

RUNTIME_ROLE = "nexusflow_app"
PROVISION_LOCK = 0x6E65787573  # "nexus": one migration at a time per database
MIN_VERSION, MAX_TESTED_VERSION = 15, 18
UPGRADE_TRIES = 10
UPGRADE_PAUSE = 1.0
"""Seconds in which what waited behind an upgrade that waited itself can go on."""
_NO_POWER = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"


def alembic_config() -> Config:
    """Alembic's configuration, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def newest_revision() -> str:
    """The schema revision this code needs."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did, or would do: from which schema revision (None: there was none) to which."""

    before: str | None
    after: str

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after


def provision(owner_url: str, runtime_password: str, control_password: str) -> Upgrade:
    """Create the two login roles if they are missing, set their passwords, and upgrade the schema.

    Safe to call again and from several processes at once. Raises ClusterUnusable when the database cannot be
    reached, is too old, busy, or was upgraded by a newer NexusFlow.
    """
    with unusable(), _owner(owner_url) as (connection, driver):
        driver.execute(f"SELECT pg_advisory_lock({PROVISION_LOCK})")
        check_version(driver)
        ensure_roles(driver, runtime_password, control_password)
        connection.commit()
        return _upgrade(connection)


def plan_upgrade(owner_url: str) -> Upgrade:
    """What ``provision`` would do to the schema. Raises ClusterUnusable."""
    with unusable(), _owner(owner_url) as (connection, driver):
        check_version(driver)
        return Upgrade(_known_revision(connection), newest_revision())


@contextmanager
def _owner(owner_url: str) -> Iterator[tuple[sa.Connection, psycopg.Connection]]:
    engine = sa.create_engine(sqlalchemy_url(owner_url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection, cast(psycopg.Connection, connection.connection.driver_connection)
    finally:
        engine.dispose()


def check_version(driver: psycopg.Connection) -> None:
    """Raise ClusterUnusable for a server that is too old."""
    version = driver.info.server_version // 10_000
    if version < MIN_VERSION:
        raise ClusterUnusable(
            f"PostgreSQL {version} is too old.",
            f"NexusFlow needs {MIN_VERSION} or newer (tested to {MAX_TESTED_VERSION}).",
        )


def ensure_roles(driver: psycopg.Connection, runtime_password: str, control_password: str) -> None:
    """The two login roles, without power, with these passwords. Raises ClusterUnusable where the owner may not."""
    for role, password in ((RUNTIME_ROLE, runtime_password), (CONTROL_ROLE, control_password)):
        _ensure_role(driver, role, password)


def _ensure_role(driver: psycopg.Connection, role: str, password: str) -> None:
    """Roles belong to the whole server, so another database's set-up may create the same one right now."""
    name, secret = sql.Identifier(role), sql.Literal(password)
    driver.execute("SELECT pg_advisory_xact_lock(1, hashtext(%s))", (role,))
    create = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(name, sql.SQL(_NO_POWER), secret)
    try:
        if driver.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            with driver.transaction():
                driver.execute(create)
            return
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        pass
    # Only a superuser may name some of these powers, even to take them away.
    is_superuser = driver.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,)
    without = sql.SQL(_NO_POWER if is_superuser else "")
    try:
        with driver.transaction():
            driver.execute(sql.SQL("ALTER ROLE {} LOGIN {} PASSWORD {}").format(name, without, secret))
    except psycopg.errors.InsufficientPrivilege:
        raise ClusterUnusable(
            f"The owner may not set the password of the role {role}, which is there already.",
            f"As an administrator: GRANT {role} TO the owner WITH ADMIN OPTION, and give the owner CREATEROLE.",
        ) from None


def _upgrade(connection: sa.Connection) -> Upgrade:
    """Migrate in one transaction; tables that are busy are tried again, so that a cluster at work is not held up."""
    before, after = _known_revision(connection), newest_revision()
    if before == after:
        return Upgrade(before, after)
    config = alembic_config()
    config.attributes["connection"] = connection
    for left in reversed(range(UPGRADE_TRIES)):
        try:
            command.upgrade(config, "head")
            connection.commit()
            break
        except sa.exc.OperationalError as error:
            if not isinstance(error.orig, (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)):
                raise
            connection.rollback()
            if left == 0:
                raise ClusterUnusable(
                    "The tables are busy, and nothing was changed.",
                    "Something reads or writes them for long: try again, or stop the workers for a moment.",
                ) from error
            time.sleep(UPGRADE_PAUSE)
    return Upgrade(before, after)


def known_revisions() -> set[str]:
    """The schema revisions that this NexusFlow can upgrade from."""
    return {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}


def _known_revision(connection: sa.Connection) -> str | None:
    current = current_revision(connection)
    if current is not None and current not in known_revisions():
        raise ClusterUnusable(
            f"The database is at schema revision {current}, which this NexusFlow does not know.",
            "It was upgraded by a newer NexusFlow: upgrade this installation too, or use another database.",
        )
    return current


def current_revision(connection: sa.Connection) -> str | None:
    """The schema revision the database is at, or None where it has no schema yet."""
    if connection.scalar(sa.text("SELECT to_regclass('public.alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def provision_from_settings() -> Upgrade:
    """Set up the database of the settings: the owner's URL does it, the other two name the roles' passwords.

    Raises ClusterUnusable when a URL is missing or is not one of the two roles'.
    """
    return provision(owner_url_of_settings(), *passwords_of_settings())


def owner_url_of_settings() -> str:
    """The database's URL as its owner. Raises ClusterUnusable."""
    url = get_settings().owner_database_url
    if url is None:
        raise ClusterUnusable(
            "NEXUSFLOW_OWNER_DATABASE_URL is not set.", "It names the database as the role to own it."
        )
    return url.get_secret_value()


def passwords_of_settings() -> tuple[str, str]:
    """The runtime's and the control role's passwords. Raises ClusterUnusable where a URL is not one of theirs."""
    settings = get_settings()
    return (
        _password_of(settings.database_url, "NEXUSFLOW_DATABASE_URL", RUNTIME_ROLE),
        _password_of(settings.control_database_url, "NEXUSFLOW_CONTROL_DATABASE_URL", CONTROL_ROLE),
    )


def _password_of(url: SecretStr | None, variable: str, role: str) -> str:
    parsed = sqlalchemy_url(url.get_secret_value()) if url is not None else None
    if parsed is None or parsed.username != role or not parsed.password:
        raise ClusterUnusable(
            f"{variable} does not name the role {role} with a password.",
            f"Write it postgresql://{role}:PASSWORD@HOST:PORT/NAME; the set-up gives the role that password.",
        )
    return str(parsed.password)


if __name__ == "__main__":
    try:
        provision_from_settings()
    except NexusError as problem:
        sys.exit(str(problem))
