"""Locks on files that the operating system releases when their holder dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from nexusflow.embedded.home import explained

POLL_SECONDS = 0.05
ANOTHER_RUNS = 75
"""The exit code of a supervisor that found another one at work."""


class FileLock:
    """An advisory lock (flock) on a file. Not inherited by programs that this process starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool, wait: float = 0.0) -> bool:
        """Take the lock, waiting at most ``wait`` seconds; whether it was taken."""
        with explained(self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(POLL_SECONDS)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                self._descriptor = descriptor
                return True

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path, *, exclusively: bool) -> bool:
    """Whether another process holds the lock: in any way, or only ``exclusively``."""
    if not path.exists():
        return False
    probe = FileLock(path)
    taken = probe.acquire(shared=exclusively)
    probe.release()
    return not taken
