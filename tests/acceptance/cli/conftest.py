"""The installed ``nexusflow`` as people and programs call it: a process, an exit code, two streams."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nexusflow.embedded.cluster import running
from nexusflow.embedded.home import Home
from tests.servers.guardian import guardian

PROGRAM = Path(sys.executable).with_name("nexusflow")
WAIT_SECONDS = 90.0


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A command at work."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self._log = process, log

    def said(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text(errors="replace")

    def until_it_says(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.said():
            assert self.process.poll() is None, f"it ended before it said {text!r}: {self.said()}"
            assert time.monotonic() < deadline, f"it never said {text!r}: {self.said()}"
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def done(self) -> Done:
        out, _ = self.process.communicate(timeout=WAIT_SECONDS)
        err = self.said()
        assert "Traceback" not in out + err
        return Done(self.process.returncode, out, err)


@dataclass
class CommandLine:
    """Calls the program in one folder, with one home."""

    folder: Path
    home: Path
    more: dict[str, str] = field(default_factory=dict)
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NEXUSFLOW_")}
        return clean | {"NEXUSFLOW_HOME": str(self.home)} | self.more

    def start(self, *arguments: str) -> Running:
        log = self.folder / f"stderr-{len(self.started)}"
        with log.open("w") as err:
            process = subprocess.Popen(
                [str(PROGRAM), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                cwd=self.folder,
                env=self.environment(),
            )
        self.started.append(process)
        return Running(process, log)

    def __call__(self, *arguments: str) -> Done:
        return self.start(*arguments).done()

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def end(self) -> None:
        for process in self.started:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home whose cluster runs while the module's tests do, so that each command only joins it."""
    path = guardian.folder("cli") / "home"
    with running(Home(path), lambda line: None):
        yield path


@pytest.fixture
def nexusflow(home: Path, tmp_path: Path) -> Iterator[CommandLine]:
    """The program, with the module's cluster."""
    command = CommandLine(tmp_path, home)
    yield command
    command.end()


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[CommandLine]:
    """The program, with a home of its own that does not exist yet."""
    command = CommandLine(tmp_path, guardian.folder("cli") / "home")
    yield command
    command.end()
