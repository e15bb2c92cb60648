"""Feeds: what is watched is looked at once a process, and its readers share the frames.

A feed keeps the newest frames. A reader that lags behind them, or comes with an older position, reads from the
database until it can join: a slow one costs nobody memory.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

import orjson

from nexusflow.db.session import DATABASE_DOWN
from nexusflow.errors import NotFound
from nexusflow.log import crash_fields, get_logger
from nexusflow.workflows.reports.live import START, Event, News, Position, events_since, newest_events, watched_runs

KEPT = 4_000
RUN_SECONDS, TENANT_SECONDS, AWAY_SECONDS = 0.25, 0.5, 1.0
REMEMBERED = 5_000

log = get_logger(__name__)
Mark = TypeVar("Mark")
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does work that blocks elsewhere, a few at a time."""
Pace = Callable[[], float]
"""The least seconds between two looks of a feed: the more feeds there are, the longer."""


def frame(data: Any, *, event: str = "", position: str = "") -> bytes:
    """A server-sent event (HTML Living Standard, 9.2)."""
    head = (f"id: {position}\n" if position else "") + (f"event: {event}\n" if event else "")
    return head.encode() + b"data: " + orjson.dumps(data) + b"\n\n"


class Feed(Generic[Mark]):
    """Frames in order of arrival, each with a number; ``first`` is that of the oldest kept."""

    def __init__(self, in_thread: InThread, seconds: float, pace: Pace) -> None:
        self.readers = 0
        self.is_over = False
        self.is_away = False
        self.first = 0
        self._frames: deque[tuple[Mark, bytes]] = deque()
        self._in_thread, self._seconds, self._pace = in_thread, seconds, pace
        self._stir = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def next(self) -> int:
        """The number of the frame to come."""
        return self.first + len(self._frames)

    def frames(self, number: int, count: int) -> list[tuple[Mark, bytes]]:
        """Up to so many frames from that number on."""
        begin = number - self.first
        return list(itertools.islice(self._frames, begin, begin + count))

    async def stirred(self, seconds: float) -> bool:
        """Wait until there may be something new; false when there was nothing for so long."""
        stir = self._stir
        try:
            await asyncio.wait_for(stir.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def open(self) -> None:
        """The first look, whose errors are the caller's; from then on it looks by itself."""
        if self._task is None:
            await self._begin()
            self._task = self._task or asyncio.create_task(self._follow())

    def close(self) -> None:
        """Look no more; readers are woken, and end."""
        if self._task is not None:
            self._task.cancel()
        self.stir()

    def stir(self) -> None:
        """Wake the readers."""
        self._stir.set()
        self._stir = asyncio.Event()

    def _append(self, marked: Iterable[tuple[Mark, bytes]]) -> None:
        for each in marked:
            self._frames.append(each)
            if len(self._frames) > KEPT:
                self.first += 1
                self._forget(self._frames.popleft()[0])

    async def _follow(self) -> None:
        while not self.is_over:
            await asyncio.sleep(max(AWAY_SECONDS if self.is_away else self._seconds, self._pace()))
            number = self.next
            try:
                await self._look()
                self.is_away = False
            except DATABASE_DOWN:
                self.is_away = True
            except Exception as error:  # or its readers would wait for ever
                log.error("feed.crashed", **crash_fields(error))
                self.is_away = True
            if self.next > number or self.is_over or self.is_away:
                self.stir()

    async def _begin(self) -> None:
        await self._look()

    async def _look(self) -> None:
        raise NotImplementedError

    def _forget(self, mark: Mark) -> None:
        """A frame is kept no more."""


class RunFeed(Feed[tuple[Position, Position]]):
    """One run's events: their keys, and where their readers go on.

    Who has read up to ``floor`` or further misses nothing by joining.
    """

    def __init__(self, in_thread: InThread, pace: Pace, tenant: str, run: str) -> None:
        super().__init__(in_thread, RUN_SECONDS, pace)
        self.floor = START
        self.status = ""
        self._tenant, self._run = tenant, run
        self._position, self._snapshot = START, ""

    async def _begin(self) -> None:
        news = await self._in_thread(partial(newest_events, self._tenant, self._run, KEPT))
        if self._snapshot:  # another reader's first look was quicker
            return
        if news.more:
            self.floor = news.events[0].key
        self._take(news)

    async def _look(self) -> None:
        try:
            look = partial(events_since, self._tenant, self._run, self._snapshot, self._position)
            news = await self._in_thread(look)
        except NotFound:  # its month was dropped
            self.is_over = True
            return
        self._take(news)

    def _take(self, news: News) -> None:
        self._position, self._snapshot, self.status = news.position, news.snapshot, news.status
        self._append(((event.key, event.position), event_frame(event)) for event in news.events)
        self.is_over = news.is_final

    def _forget(self, mark: tuple[Position, Position]) -> None:
        self.floor = max(self.floor, mark[0])


class TenantFeed(Feed[None]):
    """All runs of a tenant, as states: one frame a run that is not as it was at the last look."""

    def __init__(self, in_thread: InThread, pace: Pace, tenant: str) -> None:
        super().__init__(in_thread, TENANT_SECONDS, pace)
        self.newest: list[dict[str, Any]] = []
        self._tenant = tenant
        self._known: dict[str, dict[str, Any]] = {}

    async def _look(self) -> None:
        runs = await self._in_thread(partial(watched_runs, self._tenant))
        changed = [run for run in reversed(runs) if self._known.get(run["id"]) != run]
        if self._task is not None:  # whoever came before it has the newest runs as a whole
            self._append((None, frame(run, event="run")) for run in changed)
        for run in changed:
            self._known.pop(run["id"], None)
            self._known[run["id"]] = run
        for run_id in list(itertools.islice(self._known, max(0, len(self._known) - REMEMBERED))):
            del self._known[run_id]
        self.newest = runs


def event_frame(event: Event) -> bytes:
    """A run's event as it is sent."""
    return frame(event.as_dict(), position=str(event.position))
