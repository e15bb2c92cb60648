"""Calls of services from the event loop: no more at once than there are connections, each answered in bounded time.

A call that outlives its time goes on in its thread; its caller is told to try again. While every thread is in such a
call, as when PostgreSQL hangs, callers are turned away at once: they neither pile up nor wait.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, ParamSpec, TypeVar

from api.errors import unavailable
from nexusflow.settings import get_settings

ANSWER_SECONDS = 8.0
"""How long a call may take, with its wait for a thread, before its caller is answered without it."""
MAX_WAITING = 1_000

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Desk:
    """As many threads as the pool has connections; a pool's overflow is left for calls that need a second one."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="call")
        self._lock = threading.Lock()
        self._waiting = 0
        self._stuck = 0

    async def call(self, work: Callable[[], Result], seconds: float) -> Result:
        """The work's result. Raises Refused (503) where it does not come in time."""
        if self._stuck >= self.threads:
            raise unavailable("CLUSTER_UNUSABLE", "The database does not answer at the moment.")
        if self._waiting >= MAX_WAITING:
            raise unavailable("OVERLOADED", "Too many requests wait already.")
        self._waiting += 1
        try:
            context = contextvars.copy_context()
            future: Future[Result] = self._executor.submit(context.run, work)
            try:
                return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
            except TimeoutError:
                if future.done() and not future.cancelled():  # the work itself ran into a timeout
                    raise
                self._leave(future)
                raise unavailable("CLUSTER_UNUSABLE", "The database did not answer in time.") from None
        finally:
            self._waiting -= 1

    def _leave(self, future: "Future[Any]") -> None:
        """Count a call as stuck for as long as it goes on; one that has not begun never will."""
        if future.cancelled():
            return
        with self._lock:
            self._stuck += 1
        future.add_done_callback(self._came_back)

    def _came_back(self, _: "Future[Any]") -> None:
        with self._lock:
            self._stuck -= 1

    def close(self) -> None:
        """Begin nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@lru_cache(maxsize=1)
def desk() -> Desk:
    """This process's."""
    return Desk(get_settings().database_pool_size)


async def call(function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Call a service in a thread. Raises what it raises, and Refused (503) where it does not answer in time."""
    return await desk().call(partial(function, *args, **kwargs), ANSWER_SECONDS)


async def call_within(seconds: float, work: Callable[[], Result]) -> Result:
    """The same for work that may take longer, or less long."""
    return await desk().call(work, seconds)
