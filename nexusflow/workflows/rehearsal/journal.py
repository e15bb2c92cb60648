"""What a rehearsal has done so far: the record of every step, the calls, and in which order all of it came."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nexusflow.workflows.engine.outcomes import LIST, Key, Outcome
from nexusflow.workflows.rehearsal.agenda import Walked
from nexusflow.workflows.rehearsal.cases import UNFINISHED
from nexusflow.workflows.rehearsal.mocking import Unanswered
from nexusflow.workflows.rows.effects import Row
from nexusflow.workflows.rows.states import STEP_OPEN


@dataclass(frozen=True)
class Call:
    """A call of an action: the step, its item, and the input with the expressions' values."""

    path: str
    item: str
    input: dict[str, Any]


@dataclass
class Rehearsed:
    """What came of a case. ``records`` by path and item; ``begun``, ``over``: the order of events, by number.

    ``unanswered``: what stopped the case. ``unused``: the mocks that nothing came to.
    """

    status: str = UNFINISHED
    output: Any = None
    error: dict[str, Any] | None = None
    records: dict[Key, Outcome] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    begun: dict[Key, int] = field(default_factory=dict)
    over: dict[Key, int] = field(default_factory=dict)
    unanswered: Unanswered | None = None
    unused: list[str] = field(default_factory=list)


class Journal:
    """Keeps the records. ``known``: what expressions read, by path and item; the lists of foreaches too."""

    def __init__(self, known: dict[Key, Outcome]) -> None:
        self.known = known
        self.found = Rehearsed()
        self._open: dict[Key, Walked] = {}

    def record(self, row: Row, walked: Walked) -> None:
        """Keep the record of a step, of an item or of a part of a try; ``walked``: the scope it belongs to."""
        key = (row.step, row.item)
        self.known[key] = Outcome(row.state, row.output, row.error, attempts=row.attempts)
        self._open.pop(key, None)
        if row.state in STEP_OPEN:
            self._open[key] = walked
        else:
            self.found.over[key] = self._number()

    def begin(self, path: str, item: str) -> None:
        """A step begins, or is tried again."""
        self.found.begun.setdefault((path, item), self._number())

    def cancel(self, is_lost: Callable[[Walked], bool]) -> None:
        """What is open in scopes that are lost is cancelled."""
        for (path, item), walked in list(self._open.items()):
            if is_lost(walked):
                before = self.known[path, item]
                self.record(Row(path, item, "cancelled", error=before.error, attempts=before.attempts), walked)

    def state(self, path: str, item: str) -> str:
        """The state of a step's record."""
        outcome = self.known.get((path, item))
        return outcome.state if outcome is not None else "pending"

    def close(self, unused: list[str]) -> Rehearsed:
        """All that came of it."""
        self.found.records = {key: each for key, each in self.known.items() if not key[0].endswith(LIST)}
        self.found.unused = unused
        return self.found

    def _number(self) -> int:
        return len(self.found.begun) + len(self.found.over)
