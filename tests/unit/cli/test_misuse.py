"""Wrong command lines, wrong settings and what nobody expected."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nexusflow.cli import exits
from nexusflow.errors import ClusterUnusable
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
