"""Requests counted a minute, with and without a cache that answers."""

import asyncio
import contextlib
import time

import pytest

from api.errors import Refused
from api.limits import RateLimit
from api.visits import Visit


def _spend(limit: RateLimit, times: int, tenant: str = "t") -> tuple[int, dict[str, str]]:
    """How many requests got through, and the headers of the last."""

    async def spend() -> tuple[int, dict[str, str]]:
        through, visit = 0, Visit("")
        for _ in range(times):
            visit = Visit("")
            with contextlib.suppress(Refused):
                await limit.spend(tenant, visit)
                through += 1
        return through, {name.decode(): value.decode() for name, value in visit.headers}

    return asyncio.run(spend())


async def _twice(limit: RateLimit) -> None:
    for _ in range(2):
        await limit.spend("t", Visit(""))


@pytest.fixture(autouse=True)
def same_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.limits.time.time", lambda: 1_800_000_010.0)


def test_who_is_over_the_limit_is_told_when_to_come_back() -> None:
    with pytest.raises(Refused) as caught:
        asyncio.run(_twice(RateLimit(1, None)))
    assert (caught.value.code, caught.value.status) == ("RATE_LIMITED", 429)
    assert caught.value.headers == {"Retry-After": "50"}


@pytest.mark.parametrize("limit", [1, 5, 2501, 12_345])
def test_as_many_as_the_limit_get_through_and_no_more(limit: int) -> None:
    counted = RateLimit(limit, None)
    assert _spend(counted, 1)[1]["ratelimit-remaining"] == str(limit - 1)
    through, headers = _spend(counted, limit + 3)
    assert through == limit - 1
    assert headers == {"ratelimit-limit": str(limit), "ratelimit-remaining": "0", "ratelimit-reset": "50"}
    assert _spend(counted, 1, "another")[0] == 1


def test_the_next_minute_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = RateLimit(2, None)
    assert _spend(counted, 3)[0] == 2
    monkeypatch.setattr("api.limits.time.time", lambda: 1_800_000_060.0)
    assert _spend(counted, 3)[0] == 2


def test_no_limit_counts_nothing() -> None:
    assert _spend(RateLimit(0, None), 3) == (3, {})


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "nonsense://x", "redis://:wrong@127.0.0.1:1"])
def test_a_cache_that_is_not_there_keeps_nobody_waiting(url: str) -> None:
    counted = RateLimit(3, url)
    began = time.monotonic()
    assert _spend(counted, 5)[0] == 3
    assert time.monotonic() - began < 2
