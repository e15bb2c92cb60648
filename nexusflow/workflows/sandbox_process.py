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
        try:
            self._receive(time.monotonic() + _START_SECONDS)
        except ChildDied:
            self.kill()
            message = "The sandbox for expressions could not be started."
            raise Transient("SANDBOX_UNAVAILABLE", message, "Run 'nexusflow doctor'.", cause="platform") from None

    def ask(self, frame: bytes, answers: int) -> list[dict[str, Any]]:
        """The answers to a request; raises ChildDied or ChildTimedOut."""
        deadline = time.monotonic() + MAX_SECONDS
        before = self._processor_seconds()
        found: list[dict[str, Any]] = []
        try:
            self._send(struct.pack(">I", len(frame)) + frame, deadline)
            while len(found) < answers:
                found.append(orjson.loads(self._receive(deadline)))
        except ChildDied as died:
            died.answered = len(found)
            if isinstance(died, ChildTimedOut):
                after = self._processor_seconds()
                died.worked = None if before is None or after is None else after - before
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

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(self.stdin.fileno(), select.POLLOUT, deadline)
            try:
                left = left[os.write(self.stdin.fileno(), left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise ChildDied from None

    def _receive(self, deadline: float) -> bytes:
        return self._read(struct.unpack(">I", self._read(4, deadline))[0], deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._wait(self.stdout.fileno(), select.POLLIN, deadline)
            chunk = os.read(self.stdout.fileno(), size - len(found))
            if not chunk:
                raise ChildDied
            found += chunk
        return bytes(found)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
            raise ChildTimedOut

    def _processor_seconds(self) -> float | None:
        try:
            status = Path(f"/proc/{self.process.pid}/stat").read_bytes()
        except OSError:
            return None
        user, system = status.rpartition(b")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
