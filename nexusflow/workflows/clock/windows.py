"""How far ahead of its workers each queue is filled: about as far as they come in less than a second.

A deeper queue makes nobody faster, and whoever comes next waits behind all of it; a shallower one lets workers idle
until the dispatcher looks again.
"""

from collections.abc import Collection, Mapping

import orjson

AHEAD_SECONDS = 0.75
LEAST, FIRST, MOST = 50, 200, 4_000
"""Segments of a queue that are published ahead of their claims: at least, before anything is known, and at most."""


class Windows:
    """The windows of the queues, as last seen to be right."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def to_json(self) -> str:
        """The sizes by queue, for the statement that fills them; those that are missing have ``FIRST``."""
        return orjson.dumps(self._sizes).decode()

    def look(self, ahead: Mapping[str, tuple[int, float]], waiting: Collection[str]) -> None:
        """Learn from what is ahead now: of each queue how many segments, and their mean age in seconds.

        ``waiting``: the queues for which more is due than their windows take; of others nothing can be learned. By
        Little's law (Operations Research 9(3), 1961) a queue of so many, in which one waits so long, is worked off at
        the quotient of the two; the mean age is about half of the whole wait.
        """
        sizes = {}
        for queue in waiting:
            size = self._sizes.get(queue, FIRST)
            segments, age = ahead.get(queue, (0, 0.0))
            if segments:
                wanted = segments / max(2 * age, 1e-3) * AHEAD_SECONDS
                sizes[queue] = round(min(MOST, max(LEAST, (size + wanted) / 2)))
            else:
                sizes[queue] = min(MOST, 2 * size)  # it ran dry
        self._sizes = sizes
