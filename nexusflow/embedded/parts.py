"""The parts of a cluster that must keep running: restarted with growing pauses when they end by themselves."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]

from nexusflow.embedded.children import Child, wait_until
from nexusflow.embedded.home import Home, write_private

FIRST_PAUSE, LONGEST_PAUSE = 0.3, 10.0
STEADY_SECONDS = 30.0
LIVED_SECONDS, MOST_DEATHS = 10.0, 5
"""A process that ended so often and never lived so long cannot run here: whatever waits for it waits in vain."""


@dataclass
class Part:
    """One process to keep alive. ``start_again`` starts it at the same address as before."""

    name: str
    child: Callable[[], Child]
    start_again: Callable[[], None]
    deaths: int = 0
    complaint: str = ""
    has_lived: bool = False
    _pause: float = FIRST_PAUSE
    _started: float = field(default_factory=time.monotonic)
    _due: float | None = None

    @property
    def is_hopeless(self) -> bool:
        """Whether it ends each time as soon as it is started."""
        return self.deaths >= MOST_DEATHS and not self.has_lived

    @property
    def is_down(self) -> bool:
        """Whether it ended and is not started again yet."""
        return self._due is not None

    def tend(self) -> bool:
        """Start the process again if it ended and its pause is over; whether anything changed."""
        now = time.monotonic()
        if self.child().is_alive:
            was_hopeless, self.has_lived = self.is_hopeless, self.has_lived or now - self._started >= LIVED_SECONDS
            return was_hopeless and self.has_lived
        if self._due is None:
            self.deaths += 1
            self.complaint = self.child().complaint()
            self.child().kill()  # what is left of its group
            steady = now - self._started > STEADY_SECONDS
            self._pause = FIRST_PAUSE if steady or self.deaths == 1 else min(self._pause * 2, LONGEST_PAUSE)
            self._due = now + self._pause
            return True
        if now < self._due:
            return False
        self._due, self._started = None, now
        self.start_again()
        return True


INSIST_SECONDS = 3.0


def stop_together(
    children: Iterable[Child], grace: float, is_hurried: Callable[[], bool] = lambda: False, *, insist: bool = False
) -> None:
    """Ask all to stop at once, wait ``grace`` seconds together, then end what is left by force.

    ``insist``: before the force ask again, which tells a worker to hand back what it is at.
    """
    running = list(children)
    for child in running:
        child.ask_to_stop()
    wait_until(lambda: is_hurried() or not any(child.is_alive for child in running), grace)
    if insist:
        for child in running:
            child.ask_to_stop()
        wait_until(lambda: not any(child.is_alive for child in running), INSIST_SECONDS)
    for child in running:
        child.kill()


def remember(home: Home, parts: Iterable[Part]) -> None:
    """Write down which processes are ours, for a successor that may have to end them."""
    pids = {}
    for part in parts:
        pid = part.child().pid
        if pid is not None:
            with contextlib.suppress(psutil.Error):
                pids[part.name] = [pid, psutil.Process(pid).create_time()]
    write_private(home.pids_file, pids)


def end_leftovers(home: Home) -> None:
    """End processes that a killed supervisor left running: only those whose id and start time are the recorded ones."""
    try:
        recorded = json.loads(home.pids_file.read_text())
    except (OSError, ValueError):
        return
    left = []
    for name, (pid, started) in recorded.items():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process = psutil.Process(pid)
            if abs(process.create_time() - started) > 1.0:
                continue
            if name == "postgres":
                process.send_signal(signal.SIGINT)
            else:
                os.killpg(pid, signal.SIGKILL)
            left.append(process)
    _, alive = psutil.wait_procs(left, timeout=10)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    home.pids_file.unlink(missing_ok=True)
