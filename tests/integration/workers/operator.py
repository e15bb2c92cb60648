"""Somebody at a terminal: commands typed in a folder that has nothing to do with NexusFlow."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.cluster import Cluster, Process

BIN = Path(sys.executable).parent


@dataclass
class Operator:
    """A cluster, and what is typed at it."""

    cluster: Cluster
    started: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.cluster.folder / "elsewhere"
        self.folder.mkdir()
        # What an operator's folder may hold, named like modules of ours.
        for name in ("tasks.py", "celeryconfig.py", "beat.py"):
            (self.folder / name).write_text("raise RuntimeError('not this one')\n")

    def celery(self, *arguments: str, name: str = "", **environment: str) -> Process:
        """Start ``celery -A nexusflow …`` as it is typed."""
        command = [str(BIN / "celery"), "-A", "nexusflow", *arguments]
        name = name or f"{arguments[0]}-{len(self.started)}"
        log = self.cluster.folder / f"{name}.log"
        surroundings = {**self.cluster.environment(), **environment}
        process = Process(name, command, surroundings, log, folder=self.folder)
        process.start()
        self.started.append(process)
        self.cluster.processes[name] = process
        return process

    def worker(self, *arguments: str) -> Process:
        """Start a worker and wait until it is ready."""
        process = self.celery("worker", *arguments, "--loglevel", "INFO")
        self.cluster.until(lambda: process.says(" ready."), f"{process.name} is ready", 30)
        return process

    def asks(self, *arguments: str) -> str:
        """What ``celery -A nexusflow …`` prints."""
        return self._typed([str(BIN / "celery"), "-A", "nexusflow", *arguments])

    def nexusflow(self, *arguments: str) -> Any:
        """The document that ``nexusflow … --json`` prints."""
        return json.loads(self._typed([str(BIN / "nexusflow"), *arguments, "--json"]))

    def _typed(self, command: list[str]) -> str:
        done = subprocess.run(  # noqa: PLW1510 - the assertion shows what it said
            command, env=self.cluster.environment(), cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def signal(self, process: Process, number: signal.Signals) -> None:
        """Signal the main process alone, as a supervisor does."""
        assert process.process is not None
        os.kill(process.process.pid, number)

    def ends(self, process: Process, seconds: float = 20.0) -> int:
        """Wait for a process to end; its exit code."""
        assert process.process is not None
        try:
            return process.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{process.name} has not ended\n{self.cluster.logs()}") from None

    def stop(self) -> None:
        self.cluster.stop()
