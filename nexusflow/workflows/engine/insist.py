"""Writing again and again while the database or the storage is away."""

import time
from collections.abc import Callable
from typing import TypeVar

from nexusflow.db.session import DATABASE_DOWN
from nexusflow.log import get_logger

INSIST_SECONDS = 900.0

log = get_logger(__name__)
T = TypeVar("T")


def insist(write: Callable[[], T]) -> T:
    """Write, and again while the database or the storage is away.

    The effect is done, and nobody else can take the segment either. Raises what the last try raised.
    """
    until = time.monotonic() + INSIST_SECONDS
    pause = 0.05
    while True:
        try:
            return write()
        except DATABASE_DOWN as error:
            if time.monotonic() + pause > until:
                raise
            log.warning("database.away", error=str(error))
            time.sleep(pause)
            pause = min(pause * 2, 1.0)
