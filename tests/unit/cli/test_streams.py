"""Outputs that cannot be written: full, closed, or gone."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from nexusflow.cli import exits
from nexusflow.cli.console import is_sure, out, say
from nexusflow.errors import InvalidInput

PROGRAM = [sys.executable, "-m", "nexusflow.cli"]
DEV_FULL = Path("/dev/full")


@pytest.mark.skipif(not DEV_FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["actions"], ["actions", "--json"], ["actions", "transform"]])
def test_a_full_disk_is_one_clear_error(arguments: list[str]) -> None:
    with DEV_FULL.open("w") as full:
        done = subprocess.run([*PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "Error: The disk is full."
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_closed_stream_is_no_error(stream: str) -> None:
    shell = f'exec "$0" -m nexusflow.cli actions {stream}>&-'
    done = subprocess.run(["sh", "-c", shell, sys.executable], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["actions"], ["actions", "--json"], ["actions", "transform"]])
def test_a_reader_that_is_gone_is_no_error(arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([*PROGRAM, *arguments], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_gets_plain_signs() -> None:
    done = subprocess.run(
        [*PROGRAM, "doctor"],
        capture_output=True,
        check=False,
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PATH": "", "HOME": "/"},
    )
    assert done.stdout.isascii()
    assert done.stdout.startswith(b"+  python")


def test_a_text_from_elsewhere_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("red \x1b[31m, a title \x1b]0;x\x07, \x9b2J", to=out())
    assert capsys.readouterr().out == "red \\x1b[31m, a title \\x1b]0;x, \\x9b2J\n"


def test_a_question_that_nobody_answers_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="Dropping has to be confirmed, and nobody can be asked here"):
        is_sure("Drop it?", "Dropping")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal, monkeypatch.context() as there:
        os.write(ours, b"\x04")  # Ctrl-D
        there.setattr(sys, "stdin", terminal)
        assert exits.perform(lambda: int(is_sure("Drop it?", "Dropping"))) == exits.INTERRUPTED
    os.close(ours)
