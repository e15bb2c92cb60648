"""Rows of processes: one each, also for twins; what died leaves its name to who comes next."""

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from nexusflow.settings import Settings, use_settings
from nexusflow.workers import processes
from nexusflow.workers.processes import Presence, prune_processes, read_processes
from tests.servers.databases import Database


@pytest.fixture(autouse=True)
def here(database: Database) -> Iterator[None]:
    use_settings(
        Settings(database_url=SecretStr(database.runtime_url), control_database_url=SecretStr(database.control_url))
    )
    yield
    use_settings(None)


def known() -> dict[str, tuple[int, str, object]]:
    return {each.name: (each.pid, each.state, each.stats.get("losses")) for each in read_processes()}


def test_a_process_has_one_row_until_it_is_gone() -> None:
    presence = Presence("one@host", "worker")
    presence.say("running", {"losses": 1})
    presence.say("draining", {"losses": 2})
    assert known() == {"one@host": (os.getpid(), "draining", 2)}
    assert [each.is_alive for each in read_processes()] == [True]
    assert prune_processes() == 0
    presence.forget()
    assert known() == {}


def test_a_twin_gets_a_row_of_its_own_and_the_name_when_the_other_died(monkeypatch: pytest.MonkeyPatch) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(processes, "os", SimpleNamespace(getpid=lambda: other.pid))
            Presence("two@host", "worker").say("running", {})
        mine = Presence("two@host", "worker")
        mine.say("running", {})
        second = f"two@host ({os.getpid()})"
        assert {name: row[0] for name, row in known().items()} == {"two@host": other.pid, second: os.getpid()}
    finally:
        other.communicate(b"\n", 10)
    mine.say("running", {})
    assert {name: row[0] for name, row in known().items()} == {"two@host": os.getpid()}
    mine.forget()
