"""Calls in threads: bounded in number and time."""

import asyncio
import threading
import time

import pytest

from api.calls import Desk
from api.errors import Refused
from nexusflow.log import get_logger


def test_a_call_gives_or_raises_what_its_work_does() -> None:
    async def calls() -> None:
        desk = Desk(1)
        assert await desk.call(lambda: 7, 1) == 7
        with pytest.raises(ZeroDivisionError):
            await desk.call(lambda: 1 // 0, 1)

        def late() -> None:
            raise TimeoutError("its own")

        with pytest.raises(TimeoutError, match="its own"):
            await desk.call(late, 1)
        desk.close()

    asyncio.run(calls())


def test_callers_of_works_that_hang_are_answered_and_later_ones_turned_away_at_once() -> None:
    async def calls() -> None:
        desk, over = Desk(2), threading.Event()
        began: list[int] = []

        async def hang(number: int) -> int:
            def work() -> None:
                began.append(number)
                over.wait(10)

            with pytest.raises(Refused) as caught:
                await desk.call(work, 0.2)
            assert (caught.value.status, caught.value.code) == (503, "CLUSTER_UNUSABLE")
            assert caught.value.headers["Retry-After"]
            return number

        start = time.monotonic()
        await asyncio.gather(*(hang(number) for number in range(6)))
        assert time.monotonic() - start < 1
        start = time.monotonic()
        await hang(6)
        assert time.monotonic() - start < 0.1  # nobody waits for threads that are all stuck
        over.set()
        while True:
            try:
                assert await desk.call(lambda: "back", 1) == "back"
                break
            except Refused:
                await asyncio.sleep(0.01)
        assert sorted(began) == [0, 1]  # those that waited never begin
        desk.close()

    asyncio.run(calls())


def test_too_many_waiting_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.calls.MAX_WAITING", 1)

    async def calls() -> None:
        desk, over = Desk(1), threading.Event()
        first = asyncio.create_task(desk.call(lambda: over.wait(5), 5))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await desk.call(lambda: None, 5)
        assert caught.value.code == "OVERLOADED"
        over.set()
        assert await first
        desk.close()

    asyncio.run(calls())


def test_what_is_bound_to_the_log_goes_along() -> None:
    import structlog

    async def calls() -> None:
        structlog.contextvars.bind_contextvars(request_id="r-1")
        desk = Desk(1)
        assert await desk.call(structlog.contextvars.get_contextvars, 1) == {"request_id": "r-1"}
        structlog.contextvars.clear_contextvars()
        desk.close()

    asyncio.run(calls())
    assert get_logger("x")
