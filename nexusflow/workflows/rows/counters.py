"""What this worker has done since it began, in plain numbers that only grow.

The numbers stand in memory that a pool's child processes share with their parent (Linux forks them), each child
writing to a row of its own: counting costs an addition, no message and no lock between processes, and what a killed
child had counted stays.
"""

import mmap
import threading
from collections.abc import Iterable, Sequence

from nexusflow.queues import QUEUE_NAMES

SLOTS = 512
_WORD = 8
_STEPS = ("succeeded", "failed", "skipped", "blocked", "cancelled", "timed_out", "retrying")
_RUNS = ("succeeded", "failed", "cancelled", "timed_out")
NAMES: tuple[str, ...] = (
    *(f"segments.{queue}" for queue in QUEUE_NAMES),
    *(f"steps.{state}" for state in _STEPS),
    *(f"runs.{status}" for status in _RUNS),
    "refused",
    "losses",
    "handed_back",
    "published",
    "recovered",
    "sweeps",
    "ticks",
)
_INDEX = {name: number for number, name in enumerate(NAMES)}


class Counters:
    """One process's numbers, or one pool's: ``count`` adds, ``read`` sums what all its processes added."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, SLOTS * len(NAMES) * _WORD)).cast("Q")
        self.take_row(0)

    def take_row(self, number: int) -> None:
        """From now on this process writes to this row (a pool's child: its index from 1 on)."""
        self._start = (number % SLOTS) * len(NAMES)
        self._lock = threading.Lock()  # a fork may have copied a locked one

    def count(self, name: str, number: int = 1) -> None:
        """Add to a number; a name that is not known counts nowhere."""
        place = _INDEX.get(name)
        if place is not None and number:
            with self._lock:
                self._memory[self._start + place] += number

    def read(self) -> dict[str, int]:
        """Every number that is not zero, summed over the rows."""
        width = len(NAMES)
        sums = {name: sum(self._memory[place : SLOTS * width : width]) for name, place in _INDEX.items()}
        return {name: number for name, number in sums.items() if number}


_counters: list[Counters] = [Counters()]


def begin() -> None:
    """Start at zero: a worker's main process, before it makes its pool."""
    _counters[0] = Counters()


def take_row(number: int) -> None:
    """See ``Counters.take_row``."""
    _counters[0].take_row(number)


def count(name: str, number: int = 1) -> None:
    """See ``Counters.count``."""
    _counters[0].count(name, number)


def count_steps(events: Iterable[str]) -> None:
    """Count recorded steps by their events (``step.succeeded``)."""
    for event in events:
        count(event.replace("step.", "steps."))


def count_run(event: Sequence[str] | None) -> None:
    """Count a run that came to its end other than well, by its event (``run.failed``), if it did."""
    if event is not None:
        count(event[0].replace("run.", "runs."))


def read_counts() -> dict[str, int]:
    """See ``Counters.read``."""
    return _counters[0].read()
