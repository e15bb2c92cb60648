"""Feeds: however much is watched, the looks at it leave the processor to others."""

import asyncio
import time
from contextlib import ExitStack

from api.feeds import Feed
from api.live import MOST_LOOKS, Hub

WATCHED = 300
looks: list[float] = []


class Counted(Feed[None]):
    """A feed that only counts its looks."""

    async def _look(self) -> None:
        looks.append(time.monotonic())


async def _watch(seconds: float) -> None:
    hub = Hub()
    with ExitStack() as stack:
        for number in range(WATCHED):
            feed = stack.enter_context(
                hub.reading(("tenant", str(number)), lambda: Counted(hub.in_thread, 0.05, hub.pace))
            )
            await feed.open()
        looks.clear()
        await asyncio.sleep(seconds)


def test_many_feeds_look_less_often_each() -> None:
    asyncio.run(_watch(1.9))
    assert MOST_LOOKS / 2 < len(looks) / 1.9 < MOST_LOOKS * 1.5
