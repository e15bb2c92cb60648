"""This machine and this installation: Python, modules, the home, the connections that are set."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from nexusflow.connectors.registry import actions
from nexusflow.doctor.findings import Finding, reason
from nexusflow.embedded.broker import find_program
from nexusflow.embedded.celery_process import MODULES
from nexusflow.embedded.cluster import ailing, find, hopeless
from nexusflow.embedded.home import Home
from nexusflow.embedded.places import find_places
from nexusflow.settings import Settings

LEAST_FREE_BYTES = 512 * 1024 * 1024
TOO_NEW_PYTHON = (3, 15)
MASKED = 4
"""How many of a long credential's last characters are shown."""


def python() -> Finding:
    """The interpreter."""
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= TOO_NEW_PYTHON:
        return Finding("python", "warn", told, "NexusFlow is tested with Python 3.11 to 3.14.")
    return Finding("python", "ok", told)


def modules(settings: Settings) -> Iterator[Finding]:
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
            missing.setdefault(reason(error), name)
    for why, name in missing.items():
        told = f"{name} cannot be imported, so workers cannot start: {why}."
        yield Finding("modules", "fail", told, "Install NexusFlow again, with all that it depends on.")
    if not missing:
        yield Finding("modules", "ok", "all that the workers, beat and the broker's transport import is there")


def home_folder(home: Home) -> Iterator[Finding]:
    """The folder of an embedded cluster."""
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


def embedded_cluster(home: Home) -> Iterator[Finding]:
    """The embedded cluster of a home, if it runs."""
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
        often = "once" if deaths == 1 else f"{deaths} times"
        yield Finding("embedded cluster", "warn", f"{name} ended {often}: {complaint}", f"Look into {log}.")
    yield Finding("embedded cluster", "ok", f"running since {info.started_at}: {', '.join(info.pids)}")


def connections(settings: Settings, *, embedded: bool) -> Iterator[Finding]:
    """The credentials that actions need; masked."""
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
