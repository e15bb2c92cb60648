"""The servers: database and schema, broker, cache, storage."""

import datetime
import uuid
from collections.abc import Iterator

import sqlalchemy as sa

from nexusflow import storage
from nexusflow.db.provision import MAX_TESTED_VERSION, MIN_VERSION, current_revision, newest_revision
from nexusflow.db.session import control_engine, runtime_engine, unusable
from nexusflow.doctor.findings import Finding, reason
from nexusflow.errors import ClusterUnusable, NexusError, StepError
from nexusflow.settings import Settings

CONNECT_SECONDS = 5.0
CLOCK_SECONDS = 2.0
"""How far this machine's clock may be from the database's."""


def database() -> Iterator[Finding]:
    """The database, its schema, its clock, and whether the dispatcher keeps up."""
    with unusable(), runtime_engine().connect() as connection:
        number = int(connection.scalar(sa.text("SELECT current_setting('server_version_num')::int / 10000")))
        role = connection.scalar(sa.text("SELECT current_user"))
        revision, newest = current_revision(connection), newest_revision()
        is_durable = connection.scalar(sa.text("SHOW synchronous_commit")) != "off"
    if number < MIN_VERSION:
        yield Finding("database", "fail", f"PostgreSQL {number} is too old.", f"Use {MIN_VERSION} or newer.")
    elif number > MAX_TESTED_VERSION:
        yield Finding("database", "warn", f"PostgreSQL {number} is newer than what was tested ({MAX_TESTED_VERSION}).")
    else:
        yield Finding("database", "ok", f"PostgreSQL {number}, as {role}, bound by row-level security")
    if not is_durable:
        told = f"synchronous_commit is off for {role}: a power cut can undo what was answered as accepted."
        yield Finding("durability", "warn", told, "Set it to on for the role, the database and the server.")
    if revision == newest:
        yield Finding("schema", "ok", f"revision {revision}")
    else:
        at = f"at revision {revision}" if revision else "not there"
        yield Finding(
            "schema",
            "fail",
            f"The schema is {at}; {newest} is needed.",
            "Set it up as its owner: nexusflow db upgrade (see docs/running.md).",
        )
    if revision is None:
        return
    with unusable(), control_engine().connect() as connection:
        yield _clock(connection)
        control = connection.scalar(sa.text("SELECT current_user"))
        stuck = connection.scalar(
            sa.text(
                "SELECT count(*) FROM segments WHERE state = 'ready' AND due_at < now() - interval '1 minute'"
                " AND coalesce(published_at, due_at) < now() - interval '1 minute'"
            )
        )
    if stuck:
        waiting = f"{stuck:,} pieces of work have waited for a worker for more than a minute"
        yield Finding("dispatcher", "warn", waiting, "Do beat and a worker for each queue run, on this broker?")
    else:
        yield Finding("dispatcher", "ok", f"as {control}, nothing waits too long")


def broker(settings: Settings) -> Iterator[Finding]:
    """Whether the broker answers."""
    if settings.broker_url is None:
        yield Finding("broker", "fail", "NEXUSFLOW_BROKER_URL is not set.", "Set it: amqp://… (RabbitMQ) or redis://…")
        return
    import kombu  # noqa: PLC0415 - slow, and only needed here

    try:
        with kombu.Connection(  # type: ignore[attr-defined,no-untyped-call]
            settings.broker_url.get_secret_value(), connect_timeout=CONNECT_SECONDS
        ) as connection:
            connection.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS)
            kind = "RabbitMQ" if connection.transport.driver_type == "amqp" else "Valkey or Redis"
            yield Finding("broker", "ok", f"{kind} at {connection.hostname}:{connection.port}")
    except Exception as error:
        raise ClusterUnusable(
            f"The broker cannot be reached: {reason(error)}.", "Check NEXUSFLOW_BROKER_URL and that the server runs."
        ) from error


def cache(settings: Settings) -> Iterator[Finding]:
    """Whether the cache answers: nothing fails without it."""
    if settings.redis_url is None:
        yield Finding("cache", "ok", "none; nothing that must last is kept in it")
        return
    import redis  # noqa: PLC0415 - slow, and only needed here

    try:
        with redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=CONNECT_SECONDS) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        yield Finding("cache", "warn", f"cannot be reached: {reason(error)}", "Check NEXUSFLOW_REDIS_URL.")
        return
    yield Finding("cache", "ok", "answers")


def _clock(connection: sa.Connection) -> Finding:
    before = datetime.datetime.now(datetime.UTC)
    theirs = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    after = datetime.datetime.now(datetime.UTC)
    apart = (theirs - (before + (after - before) / 2)).total_seconds()
    if abs(apart) <= CLOCK_SECONDS + (after - before).total_seconds():
        return Finding("clock", "ok", f"{abs(apart):.1f} s from the database's")
    told = f"{abs(apart):,.1f} s {'behind' if apart > 0 else 'ahead of'} the database's"
    return Finding("clock", "warn", told, "Leases and schedules go by the database's clock; keep both by NTP.")


PROBE = b"nexusflow doctor"


def large_values() -> Iterator[Finding]:
    """Whether a value can be put into the storage and read back."""
    scheme = storage.configured()
    if scheme == "db":
        yield Finding("storage", "ok", "large values and files lie in the database")
        return
    nobody = str(uuid.UUID(int=0))
    try:
        key = storage.put(nobody, nobody, PROBE, month=datetime.datetime.now(datetime.UTC))
        kept = storage.get(nobody, key)
    except (NexusError, StepError, OSError) as error:
        told = f"{scheme}: nothing can be kept: {reason(error)}"
        yield Finding("storage", "fail", told, "Check NEXUSFLOW_STORAGE_URL, and that this account may write there.")
        return
    if kept != PROBE:
        yield Finding("storage", "fail", f"{scheme}: what was put there came back changed", "Look at the storage.")
    else:
        yield Finding("storage", "ok", f"{scheme}: takes values and gives them back")
