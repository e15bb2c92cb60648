"""Pages of lists: by number, or onward from an opaque cursor; totals are exact up to 10,000."""

import base64
import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from nexusflow.errors import InvalidInput

MAX_PER_PAGE = 100
MAX_TOTAL = 10_000
MAX_TEXT = 200
_FARTHEST = 2**31
_CHECK_BYTES = 4

Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list. ``total_capped``: there are more than ``total``. ``next_cursor``: None on the last page."""

    items: list[Item]
    page: int
    per_page: int
    total: int
    total_capped: bool = False
    next_cursor: str | None = None

    def of(self, change: Callable[[Item], Other]) -> "Page[Other]":
        """The same page of what ``change`` makes of its items."""
        changed = [change(each) for each in self.items]
        return Page(changed, self.page, self.per_page, self.total, self.total_capped, self.next_cursor)


def check_page(page: int, per_page: int) -> int:
    """The number of items before the page. Raises InvalidInput."""
    if page < 1:
        raise InvalidInput(f"There is no page {page}.", "Pages count from 1.")
    if not 1 <= per_page <= MAX_PER_PAGE:
        raise InvalidInput(f"per_page is {per_page}.", f"Give 1 to {MAX_PER_PAGE}.")
    return min((page - 1) * per_page, _FARTHEST)


def check_text(text: str | None) -> str:
    """A text to look for, "" for none. Raises InvalidInput."""
    if text is not None and (len(text) > MAX_TEXT or not text.isprintable()):
        raise InvalidInput("The text to look for cannot be used.", f"Give at most {MAX_TEXT} printable characters.")
    return (text or "").strip()


def make_cursor(sort: str, *position: Any) -> str:
    """A text that says how far one has read in this order."""
    data = orjson.dumps([sort, *position])
    return base64.urlsafe_b64encode(_check(data) + data).decode().rstrip("=")


def read_cursor(cursor: str, sort: str, *kinds: Callable[[Any], str]) -> list[str]:
    """The position in a cursor of ``make_cursor``; each of ``kinds`` reads a part, or raises ValueError.

    Raises InvalidInput for any other text, or another order's cursor.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        data = raw[_CHECK_BYTES:]
        if _check(data) != raw[:_CHECK_BYTES]:
            raise ValueError(cursor)
        order, *position = orjson.loads(data)
        read = [kind(part) for kind, part in zip(kinds, position, strict=True)] if order == sort else []
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("The cursor cannot be read.", "Give next_cursor of the page before, as it is.") from None
    if order != sort:
        raise InvalidInput(
            "The cursor is of a list in another order.", f"Keep sort the same from page to page; here it is {sort}."
        )
    return read


def a_moment(part: Any) -> str:
    """A moment in a cursor."""
    return datetime.datetime.fromisoformat(part).isoformat()


def an_id(part: Any) -> str:
    """An id in a cursor."""
    return str(UUID(part))


def a_name(part: Any) -> str:
    """A name in a cursor."""
    if not str(part).isprintable():
        raise ValueError(part)
    return str(part)


def _check(data: bytes) -> bytes:
    """Against slips, not against forgers: a cursor reaches nothing that its reader could not list anyway."""
    return hashlib.blake2b(data, digest_size=_CHECK_BYTES).digest()


def is_id(text: str) -> bool:
    """Whether a text is an id at all; what is not names nothing."""
    try:
        return len(text) in (32, 36) and bool(UUID(text))
    except ValueError:
        return False
