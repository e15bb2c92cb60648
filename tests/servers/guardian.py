"""Outlives the tests by a moment: ends the servers and removes the folders they left, however they ended.

A process of its own that reads "group ID", "gone ID" and "folder PATH" lines; the end of its input is the end of the
tests, be it a normal one, a Ctrl-C or a kill -9.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


class Guardian:
    """The running guardian of this process; started at the first need."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def watch_group(self, group: int) -> None:
        """End this process group after the tests."""
        self._tell(f"group {group}")

    def forget_group(self, group: int) -> None:
        """The group has ended: its id may become someone else's."""
        self._tell(f"gone {group}")

    def folder(self, name: str) -> Path:
        """A new temporary folder, open to every account (a server may run under another), removed after the tests."""
        path = Path(tempfile.mkdtemp(prefix=f"nexusflow-{name}-"))
        path.chmod(0o755)
        self._tell(f"folder {path}")
        return path

    def finish(self) -> None:
        """End everything now and wait for it."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None and self._owner == os.getpid():
                self._process.stdin.close()
                self._process.wait(30)
                self._process = None

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
                )
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


guardian = Guardian()


def main() -> None:
    """Collect until the input ends, then clean up."""
    groups: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        what, _, value = line.strip().partition(" ")
        if what == "group":
            groups.add(int(value))
        elif what == "gone":
            groups.discard(int(value))
        elif what == "folder":
            folders.append(value)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(20):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if not any(Path(folder).exists() for folder in folders):
            break
        time.sleep(0.1)


if __name__ == "__main__":
    main()
