"""What a worker must know of a rerun: whose id stands in a step's idempotency key."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """The runs that a rerun goes back to, as its row names them.

    ``origin``: the run whose id stands in the keys, so that a vendor that saw an earlier attempt knows the next one.
    ``fresh``: pairs of a run's id and the steps (and of these the items, None for all) that have this id in their
    keys, the newest first: they had succeeded and were wanted again.
    """

    origin: str
    fresh: tuple[tuple[str, dict[str, frozenset[str] | None]], ...] = ()

    @classmethod
    def of(cls, origin: Any, fresh: Any) -> "Family | None":
        """As a run's row has it; None for a run that is no rerun, or has keys of its own."""
        if origin is None:
            return None
        steps = [
            (run, {step: None if items is None else frozenset(items) for step, items in each.items()})
            for run, each in fresh or ()
        ]
        return cls(str(origin), tuple(steps))

    def key_run(self, step: str, item: str) -> str:
        """The id of the run that stands in a step's key; a compensation goes by ``step/compensate``."""
        for run, steps in self.fresh:
            if step in steps:
                items = steps[step]
                if items is None or item in items:
                    return run
        return self.origin

    def to_json(self) -> list[Any]:
        """``fresh`` as the run's row keeps it."""
        return [
            [run, {step: None if items is None else sorted(items) for step, items in steps.items()}]
            for run, steps in self.fresh
        ]


def key_run(family: Family | None, run: str, step: str, item: str) -> str:
    """The id of the run that stands in a step's key: its own, unless the run is one of a family."""
    return run if family is None else family.key_run(step, item)
