"""Homes and users of embedded clusters."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from nexusflow.embedded.home import Home
from tests.servers.guardian import guardian

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 20.0


@pytest.fixture
def home() -> Home:
    """A home that every account can reach; removed after the tests."""
    return Home(guardian.folder("home") / "home")


class Holder:
    """A process that uses a cluster."""

    def __init__(self, home: Home) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.embedded.holder", str(home.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def info(self) -> dict[str, Any]:
        """What the process found, once it has it."""
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def leave(self) -> int:
        """Stop using the cluster; the process's exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


@pytest.fixture
def hold(home: Home) -> Iterator[Callable[[], Holder]]:
    """Start a user of this test's cluster; what is still running at the end is stopped, and must stop."""
    holders: list[Holder] = []

    def start() -> Holder:
        holders.append(Holder(home))
        return holders[-1]

    yield start
    for holder in holders:
        holder.end()
    until(lambda: not processes_of(home), "the cluster stops after the test")


def processes_of(home: Home) -> list[str]:
    """What still runs for this home."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        inside = str(home.path) in line or str(process.info["cwd"] or "").startswith(str(home.path))
        if inside and process.info["status"] != psutil.STATUS_ZOMBIE and "tests.integration" not in line:
            found.append(f"{process.pid} {line}")
    return found


def until(claim: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait for a claim to become true, or fail saying which did not."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
