"""Outputs that cannot be written: full, closed, or gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
