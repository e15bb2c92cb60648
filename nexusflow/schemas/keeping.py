"""What is made of a schema is kept: of many small ones, and of a few large ones, which take twenty times their text."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

Made = TypeVar("Made")
LARGE = 20_000
"""Characters of a large schema."""
SMALL_ONES, LARGE_ONES = 256, 8


def kept_by_size(make: Callable[[str], Made]) -> Callable[[str], Made]:
    """A function of a schema's text that remembers its latest results."""
    small, large = lru_cache(maxsize=SMALL_ONES)(make), lru_cache(maxsize=LARGE_ONES)(make)

    def kept(text: str) -> Made:
        return (small if len(text) <= LARGE else large)(text)

    return kept
