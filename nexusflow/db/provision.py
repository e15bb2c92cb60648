"""Set up a database: its roles, and its schema at the newest revision."""

import sys
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
_NO_POWER = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"


def alembic_config() -> Config:
    """Alembic's configuration, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def newest_revision() -> str:
    """The schema revision this code needs."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""


def provision(owner_url: str, runtime_password: str, control_password: str) -> None:
    """Create the two login roles if they are missing, set their passwords, and upgrade the schema.

    Safe to call again and from several processes at once. Raises ClusterUnusable when the database cannot be
    reached, is too old, or was upgraded by a newer NexusFlow.
    """
    with unusable():
        engine = sa.create_engine(sqlalchemy_url(owner_url), poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({PROVISION_LOCK})")
            driver = cast(psycopg.Connection, connection.connection.driver_connection)
            _check_version(driver)
            for role, password in ((RUNTIME_ROLE, runtime_password), (CONTROL_ROLE, control_password)):
                _ensure_role(driver, role, password)
            connection.commit()
            _upgrade(connection)
        engine.dispose()


def _check_version(driver: psycopg.Connection) -> None:
    version = driver.info.server_version // 10_000
    if version < MIN_VERSION:
        raise ClusterUnusable(
            f"PostgreSQL {version} is too old.",
            f"NexusFlow needs {MIN_VERSION} or newer (tested to {MAX_TESTED_VERSION}).",
        )


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


def _upgrade(connection: sa.Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = current_revision(connection)
    if current is not None and current not in known:
        raise ClusterUnusable(
            f"The database is at schema revision {current}, which this NexusFlow does not know.",
            "It was upgraded by a newer NexusFlow: upgrade this installation too, or use another database.",
        )
    command.upgrade(config, "head")
    connection.commit()


def current_revision(connection: sa.Connection) -> str | None:
    """The schema revision the database is at, or None where it has no schema yet."""
    if connection.scalar(sa.text("SELECT to_regclass('public.alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def provision_from_settings() -> None:
    """Set up the database of the settings: the owner's URL does it, the other two name the roles' passwords.

    Raises ClusterUnusable when a URL is missing or is not one of the two roles'.
    """
    settings = get_settings()
    passwords = [
        _password_of(settings.database_url, "NEXUSFLOW_DATABASE_URL", RUNTIME_ROLE),
        _password_of(settings.control_database_url, "NEXUSFLOW_CONTROL_DATABASE_URL", CONTROL_ROLE),
    ]
    if settings.owner_database_url is None:
        raise ClusterUnusable(
            "NEXUSFLOW_OWNER_DATABASE_URL is not set.", "It names the database as the role to own it."
        )
    provision(settings.owner_database_url.get_secret_value(), *passwords)


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
