"""How many requests a tenant may send a minute: counted in the cache, or here while there is none.

A front end takes requests from the common count in small blocks and spends them by itself, so that hardly a request
waits for the cache; what is unspent when the minute ends is lost. A cache that fails or stalls is left alone for a
while and this process counts for itself: it never keeps a request from being answered.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from limits.aio.storage import RedisStorage

from api.errors import Refused
from api.visits import Visit
from nexusflow.log import get_logger
from nexusflow.settings import get_settings

WINDOW = 60
CACHE_SECONDS = 0.25
"""How long a request waits for the cache."""
AWAY_SECONDS = 5.0
"""How long a cache that failed is left alone."""
BLOCKS = 1_000
"""A block is so many parts of the limit; so little of it may be lost a minute and front end."""

log = get_logger(__name__)


@dataclass(slots=True)
class _Account:
    """A tenant in this minute: what it has taken of the common count, and what of that is not spent yet."""

    window: int = 0
    taken: int = 0
    unspent: int = 0


class RateLimit:
    """Counts the requests of a process's tenants."""

    def __init__(self, per_minute: int, redis_url: str | None) -> None:
        self._limit = per_minute
        self._block = max(1, per_minute // BLOCKS)
        self._accounts: dict[str, _Account] = {}
        self._storage = _storage(redis_url) if redis_url and per_minute else None
        self._away_until = 0.0

    async def spend(self, tenant: str, visit: Visit) -> None:
        """Count a request, and note where the tenant stands. Raises Refused (429)."""
        if not self._limit:
            return
        now = time.time()
        window, left = int(now // WINDOW), WINDOW - int(now % WINDOW)
        account = self._accounts.get(tenant)
        if account is None or account.window != window:
            account = self._begin(tenant, window)
        if account.unspent == 0:
            taken = await self._take(f"{tenant}/{window}", account)
            if account.window == window:
                account.taken = max(account.taken, taken)
                over = max(0, taken - self._limit)
                account.unspent += max(0, self._block - over)
        remaining = max(0, self._limit - account.taken) + max(0, account.unspent - 1)
        visit.headers += (
            (b"ratelimit-limit", b"%d" % self._limit),
            (b"ratelimit-remaining", b"%d" % remaining),
            (b"ratelimit-reset", b"%d" % left),
        )
        if account.unspent == 0:
            told = f"The {self._limit:,} requests of this minute are used up."
            raise Refused("RATE_LIMITED", told, f"Wait {left} s.", headers={"Retry-After": str(left)})
        account.unspent -= 1

    def _begin(self, tenant: str, window: int) -> _Account:
        if len(self._accounts) > 10_000:
            self._accounts = {name: each for name, each in self._accounts.items() if each.window == window}
        self._accounts[tenant] = account = _Account(window)
        return account

    async def _take(self, key: str, account: _Account) -> int:
        """Add a block to the common count: what that is now."""
        if self._storage is not None and time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(CACHE_SECONDS):
                    return int(await self._storage.incr(key, 2 * WINDOW, self._block))
            except Exception as error:  # whatever a cache does wrong, requests go on
                self._away_until = time.monotonic() + AWAY_SECONDS
                log.warning("cache.away", error=type(error).__name__)
        return account.taken + self._block


def _storage(redis_url: str) -> RedisStorage | None:
    options: dict[str, Any] = {"socket_timeout": CACHE_SECONDS, "socket_connect_timeout": CACHE_SECONDS}
    try:
        return RedisStorage(
            f"async+{redis_url}", implementation="redispy", key_prefix="nexusflow:rate", max_connections=16, **options
        )
    except Exception as error:  # an address that cannot be read: doctor tells, requests go on
        log.warning("cache.unusable", error=type(error).__name__)
        return None


_limits: dict[str, RateLimit] = {}


def rate_limit() -> RateLimit:
    """This process's."""
    if "" not in _limits:
        settings = get_settings()
        url = settings.redis_url.get_secret_value() if settings.redis_url is not None else None
        _limits[""] = RateLimit(settings.requests_per_minute, url)
    return _limits[""]
