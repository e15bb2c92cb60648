"""Child processes that log to a file and die with the process that started them."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from nexusflow.embedded.home import explained

LOG_BYTES = 4_000_000
_TAIL_BYTES = 8_192
_SAYS_WHY = re.compile(
    r"FATAL|PANIC|ERROR|[Ee]rror|could not|[Cc]annot|refused|[Nn]o space|Permission denied|already in use"
)
_TRACE = "Traceback (most recent call last):"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process(Protocol):
    """What is needed of a running process, as ``subprocess.Popen`` has it."""

    @property
    def pid(self) -> int: ...  # noqa: D102
    def poll(self) -> int | None: ...  # noqa: D102
    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102
    def send_signal(self, sig: int, /) -> None: ...  # noqa: D102


class Child:
    """One process, in a process group of its own. It can be started again after it ended."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        account: int | None = None,
        stdin: bytes | socket.socket = b"",
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._env = env
        self._cwd = cwd
        self._account = account
        self._stdin = stdin
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._process: Process | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self.is_alive else None

    @property
    def is_alive(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process. It dies with this *thread*: call it from one that lives as long as the process should."""
        with explained(self.log):
            output = self.log.open("ab")
        with output:
            self._log_start = output.tell()
            self._process = process = subprocess.Popen(  # noqa: S603 - our own programs
                self.argv,
                stdin=self._input(),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                preexec_fn=die_with_parent(self._death_signal),  # noqa: PLW1509 - one system call, after the change of account
                user=self._account,
                group=self._account,
                extra_groups=None if self._account is None else [],
            )
        if process.stdin is not None and isinstance(self._stdin, bytes):
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._stdin)
                process.stdin.close()

    def _input(self) -> int:
        if isinstance(self._stdin, socket.socket):
            return self._stdin.fileno()
        return subprocess.PIPE if self._stdin else subprocess.DEVNULL

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        if self._process is not None and self.is_alive:
            self._process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Send the signal that ends the process in order."""
        self.signal(self._stop_signal)

    def stop(self, grace: float) -> None:
        """End the process in order; by force after ``grace`` seconds."""
        self.ask_to_stop()
        self.wait(grace)
        self.kill()

    def wait(self, seconds: float) -> bool:
        """Wait for the process to end; whether it did."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process and its whole group at once."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def has_failed(self) -> bool:
        """Whether the process ended by itself, so that its log says why; one that was killed could not say."""
        code = self._process.poll() if self._process is not None else None
        return code is not None and code not in (-signal.SIGKILL, -signal.SIGTERM)

    def how_it_ended(self) -> str:
        """The exit code, or the signal, of a process that has ended."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return "unknown"
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def last_lines(self) -> list[str]:
        """The end of what the log holds since the last start, empty lines left out."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(min(self._log_start, size), size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        return [line.strip() for line in lines if line.strip()]

    def last_words(self, most: int) -> list[str]:
        """The end of its log for people: of a trace only what was raised."""
        lines = self.last_lines()
        if _TRACE in lines:
            lines = [*lines[: lines.index(_TRACE)], lines[-1]]
        return lines[-most:]

    def complaint(self) -> str:
        """The line of the log since the last start that says best what went wrong; empty if there is none."""
        lines = self.last_lines()
        telling = [line for line in lines if _SAYS_WHY.search(line)]
        return (telling or lines or [""])[-1][:500]

    def bound_log(self) -> None:
        """Move a log that grew too long aside, keeping one older part."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                # The process appends to the file it holds open, so emptying it is safe and renaming it is not.
                os.truncate(self.log, 0)
                self._log_start = 0


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a new process calls, so that it gets this signal when the thread that started it is gone (Linux only)."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def wait_until(claim: Callable[[], bool], seconds: float, poll: float = 0.02) -> bool:
    """Wait until ``claim`` holds; whether it did within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll)
    return True
