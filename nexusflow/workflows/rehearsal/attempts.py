"""Attempts at a step or a compensation: what is recorded of one, and whether another follows, and when."""

from collections.abc import Callable
from typing import Any

from nexusflow.errors import StepError
from nexusflow.workflows.engine.failing import Waiting, fail
from nexusflow.workflows.engine.outcomes import Key
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rehearsal.agenda import Agenda, Walked
from nexusflow.workflows.rehearsal.journal import Journal
from nexusflow.workflows.rehearsal.mocking import Never
from nexusflow.workflows.rows.effects import Row


class Attempts:
    """Counts and repeats attempts as the engine does, without chance. ``root``: the workflow's own scope."""

    def __init__(self, plan: Plan, journal: Journal, agenda: Agenda, root: Walked) -> None:
        self._steps, self._journal, self._agenda, self._root = plan.steps, journal, agenda, root

    def tried(
        self, key: Key, walked: Walked, retry: Any, work: Callable[[Row], None], again: Callable[[], None]
    ) -> Row | None:
        """One attempt's record; None where no answer comes, or there is another attempt later.

        ``again``: that one; it belongs to the scope ``walked``.
        """
        known = self._journal.known.get(key)
        row = Row(*key, "succeeded", attempts=1 + (known.attempts if known is not None else 0))
        # What a compensation has tried is not lost with the try that wanted it: another one goes on from there.
        kept_by = walked if key[0] in self._steps else self._root
        try:
            try:
                work(row)
            except StepError as error:
                fail(row, _longest(retry), error)
        except Waiting as waiting:
            self._journal.record(row, kept_by)
            self._agenda.add(walked, again, waiting.delay)
            return None
        except Never:
            row.state = "running"
            self._journal.record(row, kept_by)
            return None
        return row


def _longest(retry: Any) -> Any:
    """The rules of a step without chance: each delay at its longest."""
    if isinstance(retry, list):
        return [_longest(rule) for rule in retry]
    return retry | {"jitter": "none"} if retry else retry
