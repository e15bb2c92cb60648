"""A small running cluster for tests: Celery workers and beat as processes, on a migrated database and a broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from nexusflow.db.session import close_connections
from nexusflow.embedded.procfile import WEB_HTTP
from nexusflow.queues import QUEUE_NAMES
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.starts import control, service
from tests.integration.records import RunRecord, read_run, statuses
from tests.servers.databases import Database
from tests.servers.guardian import guardian

ROOT = Path(__file__).parents[2]
HEAD = {"nexusflow": "1", "name": "case"}
OVER = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
APP = "nexusflow"
_active: list[Settings] = []


@dataclass
class Process:
    """A worker or beat, with its log."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    folder: Path = ROOT

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        guardian.watch_group(self.process.pid)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and its children."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it at once, children too."""
        if self.process is not None:
            if self.runs:
                self.signal(signal.SIGKILL)
            self.process.wait(10)
            guardian.forget_group(self.process.pid)
            self.process = None

    def says(self, text: str) -> bool:
        return self.log.exists() and text in self.log.read_text(errors="replace")


def _ready_word(process: Process) -> str:
    if "uvicorn" in process.command:
        return "running on http"
    return "beat: Starting" if "beat" in process.command else " ready."


@dataclass
class Cluster:
    """Processes under one set of settings, and the service's calls under the same settings in this process."""

    database: Database
    broker: str
    changes: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    broker_log: Path | None = None

    def __post_init__(self) -> None:
        self.folder = guardian.folder("cluster")
        self.tenant = str(self.database.tenant_a)

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.folder,
            database_url=SecretStr(self.database.runtime_url),
            control_database_url=SecretStr(self.database.control_url),
            broker_url=SecretStr(self.broker),
            allow_private_addresses="loopback",
            **self.changes,
        )

    def environment(self) -> dict[str, str]:
        named = {
            **self.database.environment(),
            "NEXUSFLOW_HOME": str(self.folder),
            "NEXUSFLOW_BROKER_URL": self.broker,
            "NEXUSFLOW_ALLOW_PRIVATE_ADDRESSES": "loopback",
            **{
                f"NEXUSFLOW_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
                for name, value in self.changes.items()
            },
        }
        return {**os.environ, **named, "PYTHONDONTWRITEBYTECODE": "1"}

    # Processes.

    def worker(
        self,
        name: str = "worker",
        queues: Sequence[str] = QUEUE_NAMES,
        *,
        pool: str = "threads",
        concurrency: int = 16,
        app: str = APP,
    ) -> Process:
        """Start a worker; ``wait_ready`` waits for it."""
        options = ["-Q", ",".join(queues), "-n", f"{name}@test", "--pool", pool, "--concurrency", str(concurrency)]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
        return self._start(name, ["-A", app, "worker", *options, *quiet])

    def beat(self, name: str = "beat", *, app: str = APP) -> Process:
        """Start beat, and with it a dispatcher."""
        return self._start(name, ["-A", app, "beat", "--pidfile=", "--loglevel", "INFO"])

    def web(self, name: str = "web", *, port: int) -> Process:
        """Start a front end."""
        options = ["--factory", "--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--http", WEB_HTTP]
        return self._start(name, ["api.app:create_app", *options], module="uvicorn")

    def _start(self, name: str, arguments: list[str], *, module: str = "celery") -> Process:
        command = [sys.executable, "-m", module, *arguments]
        process = Process(name, command, self.environment(), self.folder / f"{name}.log")
        process.start()
        self.processes[name] = process
        return process

    def wait_ready(self) -> "Cluster":
        """Until every worker consumes."""
        for process in self.processes.values():
            self.until(lambda each=process: each.says(_ready_word(each)), f"{process.name} is ready", 40)
        return self

    def stop(self) -> None:
        """End the processes, and this process's connections to their database."""
        for process in self.processes.values():
            process.kill()
        close_connections()

    def logs(self) -> str:
        """The end of each process's log, and of the broker's."""
        logs = {name: process.log for name, process in self.processes.items()}
        if self.broker_log is not None:
            logs["broker"] = self.broker_log
        return "\n".join(f"--- {name}\n{log.read_text(errors='replace')[-3000:]}" for name, log in logs.items())

    # The service, as this cluster's.

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this cluster's settings this process's for a while."""
        _active.append(self.settings)
        use_settings(_active[-1])
        try:
            yield
        finally:
            _active.pop()
            use_settings(_active[-1] if _active else None)

    def save(self, definition: str | dict[str, Any] | list[dict[str, Any]], **words: Any) -> service.Version:
        """Save a definition: a text, a dict, or its steps alone."""
        if isinstance(definition, list):
            definition = {**HEAD, **words, "steps": definition}
        text = definition if isinstance(definition, str) else json.dumps(definition)
        with self.active():
            return service.save_version(self.tenant, text.encode())

    def start(self, definition: Any, given: dict[str, Any] | None = None, **words: Any) -> str:
        """Start a run of a definition (or of a saved version)."""
        version = definition if isinstance(definition, service.Version) else self.save(definition, **words)
        with self.active():
            return service.start_run(self.tenant, version, given or {})

    def cancel(self, run: str) -> None:
        with self.active():
            control.cancel_run(self.tenant, run)

    def read(self, run: str) -> RunRecord:
        """What the database holds of a run."""
        with self.active():
            return read_run(self.tenant, run)

    def finish(self, run: str, seconds: float = 20.0) -> RunRecord:
        """Wait until the run is over."""
        self.finish_all([run], seconds)
        return self.read(run)

    def finish_all(self, runs: Sequence[str], seconds: float = 60.0) -> None:
        """Wait until all these runs are over."""

        def over() -> bool:
            with self.active():
                return statuses(self.tenant, runs) <= OVER

        self.until(over, "the runs are over", seconds)

    def run(
        self, definition: Any, given: dict[str, Any] | None = None, *, seconds: float = 20.0, **words: Any
    ) -> RunRecord:
        """Run a definition to its end."""
        return self.finish(self.start(definition, given, **words), seconds)

    def until(self, claim: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Poll until a claim holds, or fail with the logs."""
        deadline = time.monotonic() + seconds
        while not claim():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.logs()}")
            time.sleep(0.02)
