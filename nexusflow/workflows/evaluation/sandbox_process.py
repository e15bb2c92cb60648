"""One child process of the sandbox: started without an environment, asked over pipes, killed when it is late."""

import importlib.util
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from nexusflow.errors import Transient

MAX_SECONDS = 1.0
MAX_MEMORY = 256 * 1024 * 1024
MAX_OUTPUT = 4 * 1024 * 1024
_START_SECONDS = 15.0
WORKED = 0.4
"""A late child that used fewer processor seconds than this was kept waiting by the machine, not by its work."""
_EXTRA_SECONDS = 0.6


class ChildDied(Exception):
    """A child ended before it had answered; ``answered``: how many answers came before."""

    answered = 0


class ChildTimedOut(ChildDied):
    """A child did not answer in time; ``worked``: the processor seconds it used meanwhile (None: unknown)."""

    worked: float | None = None


def _package_folders() -> list[str]:
    """Where the child finds its three packages: it runs without ``site``."""
    specs = [importlib.util.find_spec(name) for name in ("jq", "orjson", "cel_expr_python")]
    places = [Path(spec.origin or next(iter(spec.submodule_search_locations or ()))) for spec in specs if spec]
    return list(dict.fromkeys(str(p.parent.parent if p.stem == "__init__" else p.parent) for p in places))


class Child:
    """One child process; used by one thread at a time."""

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("sandbox_child.py"))
        limits = [str(MAX_MEMORY), str(MAX_OUTPUT), str(MAX_SECONDS)]
        # No PR_SET_PDEATHSIG: it fires when the *thread* that started the child ends. The pipe's end tells the child.
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", "-B", program, *limits, *_package_folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={},
            start_new_session=True,
        )
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdin.fileno(), False)
        os.set_blocking(self.stdout.fileno(), False)
        self.deadline, self.may_extend = time.monotonic() + _START_SECONDS, False
        self.started_at: float | None = None
        try:
            self._receive()
        except ChildDied:
            self.kill()
            message = "The sandbox for expressions could not be started."
            raise Transient("SANDBOX_UNAVAILABLE", message, "Run 'nexusflow doctor'.", cause="platform") from None

    def ask(self, frame: bytes, answers: int) -> list[dict[str, Any]]:
        """The answers to a request; raises ChildDied or ChildTimedOut."""
        self.deadline, self.started_at = time.monotonic() + MAX_SECONDS, self._processor_seconds()
        self.may_extend = True
        found: list[dict[str, Any]] = []
        try:
            self._send(struct.pack(">I", len(frame)) + frame)
            while len(found) < answers:
                found.append(orjson.loads(self._receive()))
        except ChildDied as died:
            died.answered = len(found)
            if isinstance(died, ChildTimedOut):
                died.worked = self._worked()
            raise
        return found

    def kill(self) -> None:
        """Ends the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.abandon()

    def abandon(self) -> None:
        """Closes this process's ends of the pipes (after a fork: the child is the other process's)."""
        self.process.returncode = self.process.returncode or 0
        for pipe in (self.stdin, self.stdout):
            pipe.close()

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._wait(self.stdin.fileno(), select.POLLOUT)
            try:
                left = left[os.write(self.stdin.fileno(), left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise ChildDied from None

    def _receive(self) -> bytes:
        return self._read(struct.unpack(">I", self._read(4))[0])

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._wait(self.stdout.fileno(), select.POLLIN)
            chunk = os.read(self.stdout.fileno(), size - len(found))
            if not chunk:
                raise ChildDied
            found += chunk
        return bytes(found)

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        while not poll.poll(max(0.0, self.deadline - time.monotonic()) * 1_000):
            worked = self._worked()
            if not self.may_extend or worked is None or worked > WORKED:
                raise ChildTimedOut
            self.deadline, self.may_extend = time.monotonic() + _EXTRA_SECONDS, False

    def _worked(self) -> float | None:
        now = self._processor_seconds()
        return None if now is None or self.started_at is None else now - self.started_at

    def _processor_seconds(self) -> float | None:
        try:
            status = Path(f"/proc/{self.process.pid}/stat").read_bytes()
        except OSError:
            return None
        user, system = status.rpartition(b")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
