"""Processes that begin as copies of this one: what is imported here, they need not import again.

Four Celery processes importing side by side are most of a small machine's start-up time, and of its memory.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from nexusflow.embedded.children import Child, die_with_parent
from nexusflow.embedded.home import explained

_POLL_SECONDS = 0.02
FORKS = sys.platform == "linux"
"""Elsewhere the system's own libraries may not survive a copy that runs no new program."""


Result = TypeVar("Result")


class ForkedProcess:
    """A forked child as ``subprocess.Popen`` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = None

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = -1
                return self.returncode
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the process has ended. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Signal the process if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Forked(Child):
    """A child that runs ``work`` in a copy of this process, which must have a single thread, and ends with its code.

    ``module`` and ``arguments`` do the same as a program, for where processes cannot be copied.
    ``listener`` becomes its standard input.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], int],
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        env: dict[str, str],
        cwd: Path,
        listener: socket.socket | None = None,
    ) -> None:
        program = [sys.executable, "-m", module, *arguments]
        super().__init__(name, program, log=log, env=env, cwd=cwd, stdin=listener or b"")
        self._work, self._environment, self._folder, self._listener = work, env, cwd, listener

    def start(self) -> None:
        """Fork. Like every child, it dies with the thread that started it."""
        if not FORKS:
            super().start()
            return
        with explained(self.log):
            output = self.log.open("ab")
        with output:
            self._log_start = output.tell()
            prepare = die_with_parent(self._death_signal)
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                self._become(output.fileno(), prepare)
            self._process = ForkedProcess(pid)

    def _become(self, log: int, prepare: Callable[[], None] | None) -> NoReturn:
        code = 1
        try:
            os.setsid()
            if prepare is not None:
                prepare()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY) if self._listener is None else self._listener.fileno(), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            # The supervisor's locks among them: held by a copy they would outlive it.
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            os.chdir(self._folder)
            os.environ.clear()
            os.environ.update(self._environment)
            code = self._work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def apart(work: Callable[[], Result]) -> Result:
    """Do it in a copy of this process that ends with it, so that this one keeps nothing of what it had to import.

    What it returns must be picklable. What it raises is raised here again.
    """
    if not FORKS:
        return work()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _tell(work, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it has said all, or nobody listens any more
        os.waitpid(pid, 0)
    if not told:
        raise RuntimeError("a part of the command ended without a word")
    result, error = pickle.loads(told)  # noqa: S301 - written by our own copy
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def _tell(work: Callable[[], object], writing: int) -> NoReturn:
    with contextlib.suppress(BaseException), os.fdopen(writing, "wb") as pipe:
        try:
            told = pickle.dumps((work(), None))
        except Exception as error:
            error.add_note(traceback.format_exc())
            told = pickle.dumps((None, _portable(error)))
        pipe.write(told)
    os._exit(0)


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same, so that another process can raise it."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - just written
    except Exception:
        said = RuntimeError(f"{type(error).__name__}: {error}")
        said.__dict__.update(__notes__=error.__notes__)
        return said
    return error
