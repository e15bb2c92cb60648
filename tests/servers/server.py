"""What all private servers share: a process on a loopback port, restartable at the same port with its data."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.guardian import guardian

HOST = "127.0.0.1"


class ServerDidNotStart(Exception):
    """A private server that did not answer in time, with the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


class Server(ABC):
    """A private server. ``start`` = ``launch`` + ``wait_ready``, so that several can be started side by side."""

    name = "server"
    start_seconds = 60.0
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder: Path = guardian.folder(self.name)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's address with its credentials."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server serves now."""

    def environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

    @property
    def account(self) -> int | None:
        """The user id to run under, where it is not ours."""
        return None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        if self.is_running:
            return
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                user=self.account,
                group=self.account,
                extra_groups=None if self.account is None else [],
            )
        guardian.watch_group(self.process.pid)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self.answers():
            if not self.is_running or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-3000:]
                self.kill()
                raise ServerDidNotStart(f"{self.name} did not start:\n{tail}")
            time.sleep(0.05)

    def stop(self, grace: float = 30.0) -> None:
        """End the server in order, keeping its data."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.send_signal(self.stop_signal)
                self.process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """End the server at once, as kill -9 does, keeping its data."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # A start script's own child may take a moment longer to be gone.
        for _ in range(200):
            if not accepts(self.port):
                break
            time.sleep(0.05)
        guardian.forget_group(self.process.pid)
        self.process = None

    def pause(self) -> None:
        """Freeze the server: connections stay open and get no answer."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)
