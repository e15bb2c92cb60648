"""What is still to be done in a rehearsal, at which moment: its clock jumps from one to the next."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nexusflow.workflows.planning.plan import Scope


@dataclass(eq=False)
class Opened:
    """A step that holds scopes while it runs at an item. ``items``, ``cursor``, ``left``: a foreach's, and how far."""

    path: str
    item: str
    around: "Walked"
    is_open: bool = True
    items: list[Any] = field(default_factory=list)
    cursor: int = 0
    left: int = 0

    @property
    def lives(self) -> bool:
        """Whether it, and all around it, is open."""
        return self.is_open and self.around.lives


@dataclass(eq=False)
class Walked:
    """A scope at work, at an item. ``begun``: its steps that became ready; ``left``: how many are not over."""

    scope: Scope
    item: str
    holder: Opened | None
    is_open: bool = True
    begun: set[str] = field(default_factory=set)
    left: int = 0

    @property
    def lives(self) -> bool:
        """Whether it, and all around it, is open."""
        return self.is_open and (self.holder is None or self.holder.lives)


class Agenda:
    """What is due, in the order of the moments (seconds from the run's start), else first come first served."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Walked, Callable[[], None]]] = []
        self._count = 0

    def add(self, walked: Walked, act: Callable[[], None], delay: float = 0.0) -> None:
        """Do something later, if the scope it belongs to is open then."""
        self._count += 1
        heapq.heappush(self._due, (self.now + delay, self._count, walked, act))

    def next_moment(self) -> float | None:
        """When the next thing is due; None where nothing is left."""
        while self._due and not self._due[0][2].lives:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def step(self) -> None:
        """Do the next thing."""
        self.now, _, _, act = heapq.heappop(self._due)
        act()
