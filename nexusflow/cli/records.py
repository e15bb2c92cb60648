"""Records in lists: as tables for people, as JSON for programs; and moments, both ways."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rich.table import Table

from nexusflow.cli.console import out, say
from nexusflow.errors import InvalidInput
from nexusflow.workflows.language.words import parse_duration
from nexusflow.workflows.rows.paging import MAX_PER_PAGE, Page

Item = TypeVar("Item")


def document(record: Any) -> dict[str, Any]:
    """A record as the API shows it."""
    return {name: shown_moment(each) for name, each in vars(record).items()}


def shown_moment(value: Any) -> Any:
    """A moment as ISO 8601 in UTC, all else as it is."""
    return value.astimezone(datetime.UTC).isoformat() if isinstance(value, datetime.datetime) else value


def local(moment: datetime.datetime | None, otherwise: str = "") -> str:
    """A moment in the reader's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment is not None else otherwise


def parse_moment(text: str, flag: str) -> datetime.datetime:
    """``2h``, ``7d`` (so long ago), a date, or a date and time, local unless it says otherwise. Raises InvalidInput."""
    try:
        return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=parse_duration(text.strip()))
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"{flag} {text[:60]} is no moment.", "Give how long ago it was (30m, 2h, 7d), or 2026-01-31T08:00."
        ) from None


def parse_span(text: str, flag: str) -> datetime.timedelta:
    """``12h``, ``90d``. Raises InvalidInput."""
    try:
        return datetime.timedelta(seconds=parse_duration(text.strip()))
    except ValueError as error:
        raise InvalidInput(f"{flag} {text[:60]} is no duration: {error}.", "Give 12h, or 90d.") from None


def gathered(read: Callable[[int, str | None], Page[Item]], limit: int) -> tuple[list[Item], Page[Item]]:
    """The first ``limit`` records, over as many pages as that takes, and the first page."""
    first = page = read(min(limit, MAX_PER_PAGE), None)
    items = list(page.items)
    while page.next_cursor is not None and len(items) < limit:
        page = read(min(limit - len(items), MAX_PER_PAGE), page.next_cursor)
        items += page.items
    return items, first


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], none: str) -> None:
    """Rows under their columns, or what is said instead; on a narrow screen the last column gives way."""
    if not rows:
        say(none, to=out())
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        is_last = column is columns[-1]
        table.add_column(column, no_wrap=not is_last, overflow="fold" if is_last else "ellipsis")
    for row in rows:
        table.add_row(*row)
    out().print(table)


def show_rest(shown: int, page: Page[Any]) -> None:
    """Say how many there are beyond those shown."""
    if shown < page.total or page.total_capped:
        more = " or more" if page.total_capped else ""
        say(f"{shown:,} of {page.total:,}{more}: --limit shows others.", "dim")
