"""What one claim writes: records, and what follows from them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One step's record, or one item's (``step`` is then the foreach's path and ``item`` the item's index path).

    ``cursor``: of a foreach the next item to take, of a switch the chosen case, of an item the segment that ended it.
    """

    step: str
    item: str
    state: str
    output: Any = None
    error: dict[str, Any] | None = None
    attempts: int = 1
    seconds: float = 0.0
    items: list[Any] | None = None
    items_count: int | None = None
    cursor: int | None = None
    event: bool = True


@dataclass
class Follower:
    """A segment that may have become ready: ``needs`` and ``quorum`` decide.

    ``above``: the scopes that must still be open. ``own``: its steps: a record of one says that it ran already.
    (Not one that a rerun has kept and not come to yet: for joins it is not there.)
    ``mine``: this worker goes on with it at once, so its row is born leased.
    ``patience``: seconds its first step may take before the control plane takes it for hung.
    ``delay`` (seconds from now) or ``due_at`` (ISO 8601): it is not ready before.
    """

    segment: int
    item: str
    queue: str
    lo: int = 0
    hi: int = 0
    patience: float = 600.0
    needs: tuple[str, ...] = ()
    quorum: int | None = None
    own: tuple[str, ...] = ()
    above: list[dict[str, str]] = field(default_factory=list)
    mine: bool = False
    delay: float | None = None
    due_at: str | None = None

    @property
    def is_later(self) -> bool:
        """Whether it is not ready at once."""
        return self.delay is not None or self.due_at is not None


@dataclass(frozen=True)
class AwaitedEvent:
    """The event that a wait's step waits for; ``closer``: the segment that ends the wait."""

    closer: int
    step: str
    event: str
    key: str


@dataclass
class Ending:
    """Why a run is to end other than well: its status, and the error (whose ``cause`` says who has to act)."""

    status: str
    error: dict[str, Any]


@dataclass
class Lane:
    """One of a foreach's parallel lanes at its turn: ``take`` items more, or the foreach is closed.

    ``entries``: where the body has several segments, those an item starts with (else the lane's own row moves on).
    ``ended``: then, the item that ended: several of its segments may try to end it, and only one takes the turn.
    """

    foreach: str
    prefix: str
    closer: Follower
    take: int = 1
    ended: str | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Inside:
    """What lies inside of something that failed: ``segments``, and ``steps`` by path, at the item ``under``.

    ``opened``: those of the steps that hold others or wait; ``calls``: those that wait for a run of their own.
    """

    segments: list[int]
    steps: list[str]
    opened: list[str]
    calls: list[str]
    under: str

    @property
    def key(self) -> dict[str, Any]:
        """The parameters that find it."""
        stem = stem_of(self.under)
        # Item paths are digits and dots, and after the dot comes the slash.
        return {
            "dropped": self.segments,
            "calls": self.calls,
            "under": self.under,
            "stem": stem,
            "beyond": f"{self.under}/" if self.under else "~",
        }


@dataclass
class Effects:
    """What one claim writes: ``rows`` to record, then what to settle."""

    rows: list[Row] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    lane: Lane | None = None
    dropped: list[Inside] = field(default_factory=list)
    ending: Ending | None = None
    awaited: AwaitedEvent | None = None


@dataclass(frozen=True)
class Fired:
    """A follower whose row this worker inserted: to be published, leased by this worker already, or due ``later``."""

    segment: int
    item: str
    lo: int
    hi: int
    leased: bool
    later: bool = False


@dataclass
class Settled:
    """What came of settling: segments that became ready, and the lane's next range where it goes on."""

    fired: list[Fired]
    range: tuple[int, int] | None = None


def stem_of(item: str) -> str:
    """What the item paths below an item (or below no item) begin with."""
    return f"{item}." if item else ""
