"""What is set up, what is wrong, what to do: one finding for each thing that is looked at."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from nexusflow.connectors.registry import actions
from nexusflow.db.provision import MAX_TESTED_VERSION, MIN_VERSION, current_revision, newest_revision
from nexusflow.db.session import control_engine, runtime_engine, unusable
from nexusflow.embedded.broker import find_program
from nexusflow.embedded.celery_process import MODULES
from nexusflow.embedded.cluster import ailing, find, find_home, hopeless
from nexusflow.embedded.home import Home
from nexusflow.embedded.places import find_places
from nexusflow.errors import ClusterUnusable, NexusError
from nexusflow.queues import QUEUES
from nexusflow.settings import Settings, get_settings, use_settings

Level = Literal["ok", "warn", "fail"]
LEAST_FREE_BYTES = 512 * 1024 * 1024
CONNECT_SECONDS = 5.0
TOO_NEW_PYTHON = (3, 15)
MASKED = 4
"""How many of a long credential's last characters are shown."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``level`` fail means that workflows cannot run until ``advice`` is followed."""

    name: str
    level: Level
    message: str
    advice: str = ""


Examination = Callable[[], Iterator[Finding]]


def examine() -> list[Finding]:
    """Look at everything. Never raises: what goes wrong while looking is a finding."""
    findings = [_python()]
    try:
        settings = get_settings()
    except NexusError as error:
        wrong = " ".join(each.message for each in error.details)
        return [*findings, Finding("settings", "fail", wrong or error.message, error.hint)]
    findings.append(Finding("settings", "ok", f"tenant {settings.tenant}"))
    embedded = settings.database_url is None
    parts: list[tuple[str, Examination]] = [("modules", lambda: _modules(settings))]
    if embedded:
        home = find_home(settings.home)
        info = find(home)
        parts += [("home", lambda: _home(home)), ("embedded cluster", lambda: _embedded(home))]
        if info is not None:
            use_settings(info.settings())
    settings = get_settings()
    if settings.database_url is not None:
        parts += [("database", _database), ("broker", lambda: _broker(settings)), ("cache", lambda: _cache(settings))]
    parts.append(("connections", lambda: _connections(settings, embedded=embedded)))
    for name, look in parts:
        findings += _carefully(name, look)
    return findings


def _carefully(name: str, look: Examination) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except NexusError as error:
        found.append(Finding(name, "fail", error.message, error.hint))
    except Exception as error:
        found.append(
            Finding(name, "fail", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        )
    return found


def _python() -> Finding:
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= TOO_NEW_PYTHON:
        return Finding("python", "warn", told, "NexusFlow is tested with Python 3.11 to 3.14.")
    return Finding("python", "ok", told)


def _modules(settings: Settings) -> Iterator[Finding]:
    """What the workers, beat and the broker's transport are made of."""
    broker = settings.broker_url.get_secret_value() if settings.broker_url is not None else ""
    transport = "kombu.transport.pyamqp" if broker.startswith("amqp") else "kombu.transport.redis"
    missing: dict[str, str] = {}
    for name in (*MODULES, transport):
        if name.startswith("kombu.transport.") and name != transport:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            missing.setdefault(_reason(error), name)
    for reason, name in missing.items():
        told = f"{name} cannot be imported, so workers cannot start: {reason}."
        yield Finding("modules", "fail", told, "Install NexusFlow again, with all that it depends on.")
    if not missing:
        yield Finding("modules", "ok", "all that the workers, beat and the broker's transport import is there")


def _home(home: Home) -> Iterator[Finding]:
    place = home.path if home.path.exists() else _existing_parent(home.path)
    if not place.is_dir():
        yield Finding(
            "home", "fail", f"{place} is a file, not a folder.", "Move it, or set NEXUSFLOW_HOME to another folder."
        )
        return
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "home", "fail", f"{place} cannot be written.", "Set NEXUSFLOW_HOME to a folder that you may write to."
        )
        return
    free = shutil.disk_usage(place).free
    told = f"{home.path}{'' if home.path.exists() else ' (made by the first run)'}, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        yield Finding("home", "warn", told, "Free some space: a full disk stops the database.")
    else:
        yield Finding("home", "ok", told)


def _existing_parent(path: Path) -> Path:
    return next(each for each in path.parents if each.exists())


def _embedded(home: Home) -> Iterator[Finding]:
    find_program()
    version = find_places(home).version if home.path.exists() else ""
    info = find(home)
    if info is None:
        yield Finding("embedded cluster", "ok", f"not running; nexusflow run starts it (PostgreSQL {version}, Valkey)")
        return
    failure = hopeless(home)
    if failure is not None:
        yield Finding("embedded cluster", "fail", failure.message, f"Look into {home.logs}.")
    for name, (deaths, complaint) in ailing(home).items():
        log = home.logs / f"{name}.log"
        yield Finding("embedded cluster", "warn", f"{name} ended {deaths} times: {complaint}", f"Look into {log}.")
    yield Finding("embedded cluster", "ok", f"running since {info.started_at}: {', '.join(info.pids)}")


def _database() -> Iterator[Finding]:
    with unusable(), runtime_engine().connect() as connection:
        number = int(connection.scalar(sa.text("SELECT current_setting('server_version_num')::int / 10000")))
        role = connection.scalar(sa.text("SELECT current_user"))
        revision, newest = current_revision(connection), newest_revision()
    if number < MIN_VERSION:
        yield Finding("database", "fail", f"PostgreSQL {number} is too old.", f"Use {MIN_VERSION} or newer.")
    elif number > MAX_TESTED_VERSION:
        yield Finding("database", "warn", f"PostgreSQL {number} is newer than what was tested ({MAX_TESTED_VERSION}).")
    else:
        yield Finding("database", "ok", f"PostgreSQL {number}, as {role}, bound by row-level security")
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
    with unusable(), control_engine().connect() as connection:
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


def _broker(settings: Settings) -> Iterator[Finding]:
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
            if kind == "RabbitMQ":
                yield from _queues(connection)
    except Exception as error:
        raise ClusterUnusable(
            f"The broker cannot be reached: {_reason(error)}.", "Check NEXUSFLOW_BROKER_URL and that the server runs."
        ) from error


def _queues(connection: object) -> Iterator[Finding]:
    for spec in QUEUES:
        try:
            with connection.channel() as channel:  # type: ignore[attr-defined]  # kombu has no types
                known = channel.queue_declare(spec.name, passive=True)
        except Exception:
            yield Finding(f"queue {spec.name}", "warn", "is not there yet", "A worker that serves it makes it.")
            continue
        served = known.consumer_count > 0
        told = f"{known.message_count:,} messages, {known.consumer_count} consumers"
        yield Finding(f"queue {spec.name}", "ok" if served else "warn", told, "" if served else "No worker serves it.")


def _cache(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        yield Finding("cache", "ok", "none; nothing that must last is kept in it")
        return
    import redis  # noqa: PLC0415 - slow, and only needed here

    try:
        with redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=CONNECT_SECONDS) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        yield Finding("cache", "warn", f"cannot be reached: {_reason(error)}", "Check NEXUSFLOW_REDIS_URL.")
        return
    yield Finding("cache", "ok", "answers")


def _connections(settings: Settings, *, embedded: bool) -> Iterator[Finding]:
    needed = sorted({action.connection for action in actions() if action.connection})
    for name in sorted({*needed, *settings.connections}):
        held = settings.connections.get(name, {})
        users = ", ".join(action.name for action in actions() if action.connection == name) or "steps that name it"
        if held:
            yield Finding(
                f"connection {name}", "ok", ", ".join(f"{key} {mask(key, held[key])}" for key in sorted(held))
            )
        elif embedded:
            yield Finding(f"connection {name}", "ok", "none of your own: the embedded cluster plays this vendor")
        else:
            variable = f"NEXUSFLOW_CONNECTIONS__{name.upper()}__…"
            yield Finding(f"connection {name}", "warn", f"not set; {users} would fail", f"Set {variable}.")


def mask(key: str, value: str) -> str:
    """A credential so that its owner knows it and nobody else can use it; addresses are shown."""
    if any(word in key for word in ("url", "host", "port", "region", "from", "tls")):
        return value if "@" not in value or key == "from" else "***"
    return f"***{value[-MASKED:]}" if len(value) >= 4 * MASKED else "***"


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__).rstrip(".")[:200]
