"""The one process that owns an embedded cluster: ``python -m nexusflow.embedded.supervisor --home FOLDER``.

It starts the cluster, keeps it alive while anyone holds the home's users lock, and stops everything when nobody does.
With ``--configured`` it starts the processes alone, on the servers that the settings name.
"""

import argparse
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from nexusflow.embedded.assembly import Assembly
from nexusflow.embedded.cluster import HURRY
from nexusflow.embedded.home import Home, write_private
from nexusflow.embedded.locks import ANOTHER_RUNS, FileLock
from nexusflow.embedded.servers import ConfiguredServers, EmbeddedServers
from nexusflow.errors import NexusError

LOOK_SECONDS = 0.2
LOCK_SECONDS = 2.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopAsked(BaseException):
    """A signal asked this process to end."""


def main() -> int:
    """Run the cluster until nobody uses it; 0, 1 when it could not be started, 75 when another supervisor runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--configured", action="store_true")
    given = parser.parse_args()
    home = Home(given.home)
    for number in _SIGNALS:
        signal.signal(number, _stop)
    signal.signal(HURRY, signal.SIG_IGN)
    lock = FileLock(home.supervisor_lock)
    # Someone who only looks whether a supervisor runs holds the lock for a moment, hence the wait.
    if not lock.acquire(shared=False, wait=LOCK_SECONDS):
        return ANOTHER_RUNS
    # Never released: it has to be held until this process is gone.
    return _supervise(home, configured=given.configured)


def _supervise(home: Home, *, configured: bool) -> int:
    for stale in (home.cluster_file, home.failure_file, home.health_file):
        stale.unlink(missing_ok=True)
    home.progress_file.write_text("")

    def report(line: str) -> None:
        _report(home, line)

    assembly = Assembly(home, ConfiguredServers() if configured else EmbeddedServers(home, report), report)
    users = FileLock(home.users_lock)
    signal.signal(HURRY, lambda _number, _frame: setattr(assembly, "is_hurried", True))
    try:
        assembly.start()
        while not users.acquire(shared=False):
            assembly.tend()
            time.sleep(LOOK_SECONDS)
    except StopAsked:
        return 0
    except NexusError as error:
        _fail(home, error.message, error.hint)
        return 1
    except Exception as error:
        traceback.print_exc()
        _fail(home, f"The cluster could not be run: {error}.", f"{home.logs / 'supervisor.log'} says more.")
        return 1
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        assembly.stop()
        users.release()
    return 0


def _report(home: Home, line: str) -> None:
    with home.progress_file.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _fail(home: Home, message: str, hint: str) -> None:
    try:
        write_private(home.failure_file, {"message": message, "hint": hint})
    except OSError:
        # The disk may be full: say it where the starter looks next.
        sys.stderr.write(f"{message} {hint}\n")


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise StopAsked


if __name__ == "__main__":
    sys.exit(main())
