"""News of runs for those who watch: streams of server-sent events, and waiting for a run's end.

One hub a process. It looks only at what somebody watches, and however many watch it, it looks once.
"""

import asyncio
import signal
import time
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from api.feeds import Feed, RunFeed, TenantFeed, event_frame, frame
from nexusflow.db.session import DATABASE_DOWN
from nexusflow.workflows.reports.live import Position, ended_runs, events_after

HEARTBEAT_SECONDS = 15.0
WAIT_SECONDS = 0.05
MOST_LOOKS = 400
"""Looks of all feeds together in a second: about a quarter of one processor."""
PAGE = 500
OPENING = b"retry: 1000\n\n"
"""How soon a browser comes back, in milliseconds."""
HEARTBEAT, AWAY = b": still here\n\n", b": the database is away; this goes on when it is back\n\n"

Result = TypeVar("Result")
AnyFeed = TypeVar("AnyFeed", bound=Feed[Any])


async def wait_for_end(tenant: str, run_id: str, seconds: float) -> bool:
    """Whether the run is over within that time; a database that is away for a moment is waited for as well."""
    return await _hub().wait(tenant, run_id, seconds)


@contextmanager
def watching_run(tenant: str, run: str) -> Iterator[RunFeed]:
    """This process's feed of the run, for as long as the block lasts; ``open`` it first."""
    hub = _hub()
    with hub.reading((tenant, run), lambda: RunFeed(hub.in_thread, hub.pace, tenant, run)) as feed:
        yield feed


async def stream_run(feed: RunFeed, tenant: str, run: str, position: Position) -> AsyncIterator[bytes]:
    """The frames behind that position, as they come; ``event: end`` when the run is over and all is sent."""
    hub = _hub()
    yield OPENING
    number = -1
    while not hub.is_closing:
        if number < feed.first and position < feed.floor:
            async for text, reached in _catch_up(hub, tenant, run, position):
                position = reached
                yield text
        if number < feed.first and position < feed.floor:  # so much is not complete yet
            await feed.stirred(1)
        elif frames := feed.frames(max(number, feed.first), PAGE):
            number = max(number, feed.first) + len(frames)
            if sent := b"".join(text for (key, _), text in frames if key > position):
                yield sent
            position = max(position, frames[-1][0][1])
        elif feed.is_over:
            yield frame({"status": feed.status}, event="end")
            return
        elif not await feed.stirred(HEARTBEAT_SECONDS):
            yield HEARTBEAT
        elif feed.is_away:
            yield AWAY


async def _catch_up(hub: "Hub", tenant: str, run: str, position: Position) -> AsyncIterator[tuple[bytes, Position]]:
    """What is complete behind a position, page by page from the database, and how far each page goes."""
    found = True
    while found and not hub.is_closing:
        try:
            news = await hub.in_thread(partial(events_after, tenant, run, position, PAGE))
        except DATABASE_DOWN:
            yield AWAY, position
            await asyncio.sleep(1)
            continue
        complete = [event for event in news.events if event.key <= event.position]
        position = news.position
        yield b"".join(map(event_frame, complete)), position
        found = news.more and bool(complete)


@contextmanager
def watching_tenant(tenant: str) -> Iterator[TenantFeed]:
    """This process's feed of all the tenant's runs, for as long as the block lasts; ``open`` it first."""
    hub = _hub()
    with hub.reading((tenant, ""), lambda: TenantFeed(hub.in_thread, hub.pace, tenant)) as feed:
        yield feed


async def stream_tenant(feed: TenantFeed) -> AsyncIterator[bytes]:
    """``event: runs`` with the newest runs, then ``event: run`` for each that changes; all again for who lagged."""
    hub = _hub()
    yield OPENING
    number = -1
    while not hub.is_closing:
        if number < feed.first:
            number = feed.next
            yield frame(feed.newest, event="runs")
        elif frames := feed.frames(number, PAGE):
            number += len(frames)
            yield b"".join(text for _, text in frames)
        elif not await feed.stirred(HEARTBEAT_SECONDS):
            yield HEARTBEAT
        elif feed.is_away:
            yield AWAY


class Hub:
    """The feeds of one process, and the runs whose end is waited for."""

    def __init__(self) -> None:
        self.is_closing = False
        self._feeds: dict[tuple[str, str], Feed[Any]] = {}
        self._limiter = anyio.CapacityLimiter(4)  # so that watchers leave connections to those who work
        self._waited: dict[str, dict[str, list[asyncio.Future[None]]]] = defaultdict(dict)
        self._waiter: asyncio.Task[None] | None = None
        _end_streams_with_the_server(self)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Do what blocks elsewhere."""
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def pace(self) -> float:
        """The seconds that each feed must leave the others, so that watchers leave the processor to those who work."""
        return len(self._feeds) / MOST_LOOKS

    @contextmanager
    def reading(self, key: tuple[str, str], make: Callable[[], AnyFeed]) -> Iterator[AnyFeed]:
        """The feed of that key, which ends with its last reader."""
        feed: Any = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = make()
        feed.readers += 1
        try:
            yield feed
        finally:
            feed.readers -= 1
            if feed.readers == 0:
                self._feeds.pop(key, None)
                feed.close()

    async def wait(self, tenant: str, run: str, seconds: float) -> bool:
        """Whether the run ends within so many seconds, and before this process does."""
        if self.is_closing:
            return False
        ended = asyncio.get_running_loop().create_future()
        self._waited[tenant].setdefault(run, []).append(ended)
        if self._waiter is None or self._waiter.done():
            self._waiter = asyncio.create_task(self._look_for_ends())
        try:
            await asyncio.wait_for(ended, seconds)
        except TimeoutError:
            return False
        finally:
            waiting = self._waited[tenant].get(run, [])
            if ended in waiting:
                waiting.remove(ended)
        return True

    async def _look_for_ends(self) -> None:
        while any(any(runs.values()) for runs in self._waited.values()) and not self.is_closing:
            began = time.monotonic()
            for tenant in list(self._waited):
                self._waited[tenant] = runs = {run: each for run, each in self._waited[tenant].items() if each}
                if not runs:
                    del self._waited[tenant]
                    continue
                try:
                    ended = await self.in_thread(partial(ended_runs, tenant, list(runs)))
                except DATABASE_DOWN:
                    continue
                for run in ended:
                    for future in runs.get(run, ()):
                        if not future.done():
                            future.set_result(None)
            await asyncio.sleep(max(WAIT_SECONDS, 3 * (time.monotonic() - began)))

    def close(self) -> None:
        """End all streams and waits; their readers come back to the next server."""
        self.is_closing = True
        for ended in [each for runs in self._waited.values() for waiting in runs.values() for each in waiting]:
            if not ended.done():
                ended.set_exception(TimeoutError)
        for feed in list(self._feeds.values()):
            feed.stir()


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def prepare() -> None:
    """Be told when the server is asked to end, also before anybody watches or waits."""
    _hub()


def _hub() -> Hub:
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


def _end_streams_with_the_server(hub: Hub) -> None:
    """A server that is asked to end waits for its open requests, and a stream would never end by itself."""
    loop = asyncio.get_running_loop()

    def chain(number: signal.Signals) -> None:
        before = signal.getsignal(number)

        def handle(received: int, at: FrameType | None) -> None:
            loop.call_soon_threadsafe(hub.close)
            if callable(before):
                before(received, at)

        if callable(before):
            signal.signal(number, handle)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            chain(number)
    except ValueError:
        return  # not the main thread: a server in a test
