"""Wrong command lines, wrong settings and what nobody expected."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from nexusflow.cli import exits
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import use_settings
from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'."),
        (["validate"], "Missing argument 'FILE'."),
        (["validate", "a", "b"], "unexpected extra argument"),
        (["run", "a.yaml", "--colour"], "No such option: --colour"),
        (["compile", "a.yaml", "--format", "png"], "png"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_invalid(
    nexusflow: Nexusflow, arguments: list[str], message: str
) -> None:
    answer = nexusflow(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert message in answer.err
    assert "--help" in answer.err
    assert nexusflow(*arguments, "--json").json["error"]["code"] == "INVALID_INPUT"


def test_version_and_help(nexusflow: Nexusflow) -> None:
    assert nexusflow("--version").out.startswith("nexusflow 0.")
    answer = nexusflow("--help")
    assert answer.code == 0
    for command in ("run", "runs", "init", "validate", "compile", "actions", "doctor"):
        assert command in answer.out


def test_settings_that_cannot_be_read_are_named_and_not_repeated(
    nexusflow: Nexusflow, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUSFLOW_LEASE_SECONDS", "sekret")
    answer = nexusflow("validate", str(good))
    assert answer.code == 2
    assert "NEXUSFLOW_LEASE_SECONDS" in answer.err
    assert "sekret" not in answer.err
    diagnosis = nexusflow("doctor")
    assert diagnosis.code == 3
    assert "NEXUSFLOW_LEASE_SECONDS" in diagnosis.out


def test_what_nobody_expected_is_a_line_and_a_trace_in_a_file(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def explode() -> int:
        raise ZeroDivisionError("the very secret reason")

    assert exits.perform(explode) == 70
    said = capfd.readouterr()
    assert said.err.count("\n") == 1
    assert "ZeroDivisionError" in said.err
    log = next(tmp_path.glob("nexusflow-defect-*.log"))
    assert str(log) in said.err
    assert "the very secret reason" in log.read_text()
    assert exits.perform(explode, as_json=True) == 70
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "DEFECT"


def test_how_errors_become_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    def failing(error: BaseException) -> int:
        raise error

    assert exits.perform(lambda: failing(ClusterUnusable("It is away.", "Start it."))) == 3
    assert capfd.readouterr().err == "Error: It is away.\n  Start it.\n"
    assert exits.perform(lambda: failing(KeyboardInterrupt())) == 130
    assert exits.perform(lambda: failing(OSError(28, os.strerror(28)))) == 3
    assert "The disk is full." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (sa.exc.ProgrammingError("SELECT sekret", {"a": "sekret"}, psycopg.Error("no table.\nsekret")), "no table"),
        (sa.exc.DataError("SELECT sekret", {"a": "sekret"}, psycopg.DataError("odd value")), "odd value"),
        (sa.exc.TimeoutError("no connection left", code="3o7r"), "no connection left"),
        (sa.exc.PendingRollbackError("cannot reconnect"), "cannot reconnect"),
        (psycopg.InternalError("prepared statement is gone"), "prepared statement is gone"),
        (psycopg.OperationalError(), "OperationalError"),
    ],
)
def test_whatever_a_database_raises_is_an_unusable_cluster(
    capfd: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    def failing() -> int:
        raise error

    assert exits.perform(failing) == 3
    told = capfd.readouterr().err
    assert told.startswith(f"Error: The database cannot serve this NexusFlow: {said}.\n")
    assert "sekret" not in told


def test_a_missing_module_is_a_finding(nexusflow: Nexusflow, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[dict[str, str]]:
        return [each for each in nexusflow("doctor", "--json").json["findings"] if each["name"] == "modules"]

    assert [each["level"] for each in found()] == ["ok"]
    monkeypatch.setitem(sys.modules, "kombu.transport.redis", None)
    (missing,) = found()
    assert missing["level"] == "fail"
    assert "kombu.transport.redis cannot be imported" in missing["message"]
    assert nexusflow("doctor").code == 3
    monkeypatch.setenv("NEXUSFLOW_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("NEXUSFLOW_BROKER_URL", "amqp://127.0.0.1:1//")
    use_settings(None)
    assert [each["level"] for each in found()] == ["ok"], "RabbitMQ needs another one"


def test_a_configured_database_is_enough_for_the_commands(
    nexusflow: Nexusflow, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUSFLOW_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    for command in (("run", str(good), "-i", "n=1"), ("runs", "show", "0" * 12)):
        answer = nexusflow(*command)
        assert answer.code == 3
        assert "PostgreSQL cannot be used" in answer.err
    assert not Path(".nexusflow").exists()
