"""Use a home's embedded cluster: join the one that runs or start it; it stops when its last user is gone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from nexusflow.embedded.cluster_info import ClusterInfo, find
from nexusflow.embedded.home import Home, explained, find_home
from nexusflow.embedded.locks import ANOTHER_RUNS, FileLock, is_held
from nexusflow.embedded.procfile import celery_processes
from nexusflow.errors import ClusterUnusable

START_SECONDS = 120.0
STOP_SECONDS = 50.0
_POLL_SECONDS = 0.05
HURRY = signal.SIGUSR1
"""Asks a supervisor that stops to wait for nothing; any other notes it for when it does."""

__all__ = ["ClusterInfo", "Home", "ailing", "find", "find_home", "hopeless", "membership", "running"]


Report = Callable[[str], None]


@contextlib.contextmanager
def running(home: Home, report: Report) -> Iterator[ClusterInfo]:
    """The cluster of this home, for as long as the block lasts; ``report`` gets a short line for each thing begun.

    Several processes may use one cluster; when the last one leaves (or is killed) everything stops.
    Raises ClusterUnusable when it cannot be started.
    """
    with membership(home, report) as member:
        yield member.info


@contextlib.contextmanager
def membership(
    home: Home, report: Report, *, configured: bool = False, leaving: Report = lambda line: None
) -> Iterator["Membership"]:
    """Like ``running``, for a command that watches over its cluster; ``leaving`` gets what happens while it stops.

    ``configured``: the cluster is only processes, on the servers that the settings name.
    """
    home.create()
    with FileLock(home.users_lock) as user:
        if not user.acquire(shared=True):
            report("waiting for the cluster to finish stopping")
            if not user.acquire(shared=True, wait=STOP_SECONDS):
                raise ClusterUnusable(
                    f"The cluster in {home.path} has been stopping for {STOP_SECONDS:.0f} s.",
                    f"Look into {home.logs / 'supervisor.log'}.",
                )
        member = Membership(home, report, configured=configured)
        try:
            member.join()
            yield member
        finally:
            user.release()
            _see_it_stop(home, member.progress, leaving)
            member.leave()


def ailing(home: Home) -> dict[str, tuple[int, str]]:
    """Each process of the running cluster that ended by itself: how often, and what it said last."""
    return {name: (entry["deaths"], entry["complaint"]) for name, entry in _health(home).items()}


def hopeless(home: Home) -> ClusterUnusable | None:
    """Why no run of the running cluster can get on: a worker, or beat, that ends each time as soon as it is started."""
    for name, entry in _health(home).items():
        if entry.get("hopeless") and name in celery_processes():
            said = f": {entry['complaint'].rstrip('.')}" if entry["complaint"] else ""
            return ClusterUnusable(
                f"The cluster's process {name} cannot run, it ended {entry['deaths']} times{said}.",
                f"nexusflow doctor looks for the reason; {home.logs / f'{name}.log'} says more.",
            )
    return None


def _health(home: Home) -> dict[str, dict[str, Any]]:
    try:
        recorded: dict[str, dict[str, Any]] = json.loads(home.health_file.read_text())
        return {name: {"deaths": 0, "complaint": ""} | entry for name, entry in recorded.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


class Progress:
    """What the supervisor says it does, read on from where one was."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._read = 0

    def lines(self) -> list[str]:
        """The lines since the last call."""
        try:
            lines = self._home.progress_file.read_text(encoding="utf-8").split("\n")[:-1]
        except OSError:
            return []
        if len(lines) < self._read:  # another supervisor began afresh
            self._read = 0
        new, self._read = lines[self._read :], len(lines)
        return new


class Membership:
    """A use of the cluster. Starts a supervisor if there is none, or waits for the one another process started."""

    def __init__(self, home: Home, report: Report, *, configured: bool) -> None:
        self._home = home
        self._report = report
        self._configured = configured
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.progress = Progress(home)
        self.info: ClusterInfo

    def join(self) -> None:
        """Have a cluster that runs. Raises ClusterUnusable."""
        found = find(self._home)
        if found is not None:
            self.progress.lines()  # what went before is not our business
        self.info = found or self._wait()

    def hurry(self) -> None:
        """Where the cluster stops, let it wait for nothing."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.info.pids["supervisor"], HURRY)

    def is_lost(self) -> bool:
        """Whether the supervisor is gone without having been told to go."""
        return not is_held(self._home.supervisor_lock, exclusively=True)

    def rejoin(self) -> None:
        """Have a cluster again after the supervisor was lost. Raises ClusterUnusable."""
        if self._supervisor is not None:
            self._supervisor.wait()
            self._supervisor = None
        self.join()

    def _wait(self) -> ClusterInfo:
        """The cluster, once it is ready. Raises ClusterUnusable."""
        deadline = time.monotonic() + START_SECONDS
        try:
            while time.monotonic() < deadline:
                self._spawn_if_needed()
                info = find(self._home)
                self._relay()
                if info is not None:
                    mine = self._supervisor is not None and self._supervisor.pid == info.pids["supervisor"]
                    return replace(info, fresh=mine)
                time.sleep(_POLL_SECONDS)
            raise ClusterUnusable(
                f"The cluster in {self._home.path} was not ready within {START_SECONDS:.0f} s.",
                f"Look into {self._home.logs}.",
            )
        except BaseException:
            if self._supervisor is not None and self._supervisor.poll() is None:
                self._supervisor.terminate()
            raise

    def leave(self) -> None:
        """Take note that the supervisor has ended, or goes on for someone else."""
        if self._supervisor is None:
            return
        if not is_held(self._home.supervisor_lock, exclusively=True):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(5)
        if self._supervisor.poll() is None:
            self._supervisor.returncode = 0  # it outlives us on purpose: no warning about that

    def _spawn_if_needed(self) -> None:
        ended = None if self._supervisor is None else self._supervisor.poll()
        if ended is not None and ended != ANOTHER_RUNS:
            raise _failure(self._home)
        idle = self._supervisor is None or ended is not None
        if idle and not is_held(self._home.supervisor_lock, exclusively=True):
            self._spawn()

    def _spawn(self) -> None:
        log = self._home.logs / "supervisor.log"
        with explained(log):
            self._home.progress_file.unlink(missing_ok=True)
            self.progress = Progress(self._home)
            output = log.open("wb")
        with output:
            self._supervisor = subprocess.Popen(  # noqa: S603 - ourselves
                [
                    *(sys.executable, "-m", "nexusflow.embedded.supervisor", "--home", str(self._home.path)),
                    *(["--configured"] if self._configured else []),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self._home.run,
                start_new_session=True,  # a Ctrl-C in the terminal is for the command, not for the cluster
            )

    def _environment(self) -> dict[str, str]:
        """What the supervisor and all it starts inherit: not the owner's power."""
        kept = {name: value for name, value in os.environ.items() if name != "NEXUSFLOW_OWNER_DATABASE_URL"}
        return kept if self._configured else {**kept, "NEXUSFLOW_HOME": str(self._home.path)}

    def _relay(self) -> None:
        """Report what the supervisor has begun since the last look."""
        for line in self.progress.lines():
            self._report(line)


def _failure(home: Home) -> ClusterUnusable:
    try:
        failure = json.loads(home.failure_file.read_text())
        return ClusterUnusable(failure["message"], failure["hint"])
    except (OSError, ValueError, KeyError):
        log = home.logs / "supervisor.log"
        with contextlib.suppress(OSError):
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            return ClusterUnusable(f"The cluster could not be started: {(lines or ['no reason given'])[-1][:500]}")
        return ClusterUnusable("The cluster could not be started.", f"Look into {log}.")


def _see_it_stop(home: Home, progress: Progress, report: Report) -> None:
    """Wait until the cluster has stopped, unless someone else still uses it."""
    deadline = time.monotonic() + STOP_SECONDS
    used = 0
    while time.monotonic() < deadline and is_held(home.supervisor_lock, exclusively=True):
        # The supervisor itself holds the users' lock from the moment it decides to stop; then the file goes.
        used = used + 1 if home.cluster_file.exists() and is_held(home.users_lock, exclusively=False) else 0
        if used >= 5:
            return
        for line in progress.lines():
            report(line)
        time.sleep(_POLL_SECONDS)
