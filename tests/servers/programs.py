"""Finds the servers' programs that the tests need on this machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

POSTGRES_MAJORS = range(15, 19)
HOMEBREW = (Path("/opt/homebrew"), Path("/usr/local"))


def find_postgres() -> Path | None:
    """The folder with initdb and postgres of the newest supported PostgreSQL."""
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/usr").glob("pgsql-*/bin"),
        *(folder for brew in HOMEBREW for folder in brew.glob("opt/postgresql*/bin")),
    ]
    for program in ("postgres", "initdb"):
        if found := shutil.which(program):
            folders.append(Path(found).resolve().parent)
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(told.stdout.strip() or "/nonexistent"))
    usable = {_postgres_major(folder): folder for folder in folders if (folder / "initdb").exists()}
    majors = [major for major in usable if major in POSTGRES_MAJORS]
    return usable[max(majors)] if majors else None


def find_rabbitmq() -> Path | None:
    """RabbitMQ's own start script: Debian's wrapper around it changes the account and refuses other users."""
    scripts = [
        *sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True),
        *sorted(Path("/opt").glob("rabbitmq*/sbin/rabbitmq-server"), reverse=True),
        *(brew / "opt/rabbitmq/sbin/rabbitmq-server" for brew in HOMEBREW),
    ]
    if found := shutil.which("rabbitmq-server", path=_wide_path()):
        scripts.append(Path(found).resolve())
    return next((script for script in scripts if (script.parent / "rabbitmq-env").exists()), None)


def find_redis() -> Path | None:
    """Redis, or Valkey."""
    found = shutil.which("redis-server", path=_wide_path()) or shutil.which("valkey-server", path=_wide_path())
    return Path(found) if found else None


def find_epmd() -> Path | None:
    """Erlang's port mapper."""
    found = shutil.which("epmd", path=_wide_path())
    places = [*([Path(found)] if found else []), *Path("/usr/lib/erlang").glob("erts-*/bin/epmd")]
    return places[0] if places else None


def find_browser() -> Path | None:
    """Chromium or Chrome, for the page's tests."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
    mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return Path(found) if found else mac if mac.exists() else None


def missing() -> dict[str, str]:
    """What is not on this machine: each server's name and its package in Debian."""
    wanted = {
        f"PostgreSQL {POSTGRES_MAJORS[0]} to {POSTGRES_MAJORS[-1]}": (find_postgres(), "postgresql"),
        "RabbitMQ": (find_rabbitmq() and find_epmd(), "rabbitmq-server"),
        "Redis or Valkey": (find_redis(), "redis-server"),
        "curl, which the documentation calls": (shutil.which("curl"), "curl"),
    }
    return {name: package for name, (program, package) in wanted.items() if program is None}


def _postgres_major(folder: Path) -> int:
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"(\d+)", told)
    return int(number.group(1)) if number else 0


def _wide_path() -> str:
    """PATH and the places for administrators' programs, which a normal user's PATH may lack."""
    brew = [str(folder / place) for folder in HOMEBREW for place in ("sbin", "bin")]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *brew])
