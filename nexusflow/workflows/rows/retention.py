"""What is old goes: months of runs with their values and files, idempotency keys, ticks, signals, processes long gone.

A month goes when its last day is older than ``retention_days`` and no run lives that was accepted in it, or in the
month after it, since that one may have been given its files. The database's functions look for themselves whether
they may; the control role, which owns nothing, only calls them.
"""

import datetime
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nexusflow import storage
from nexusflow.db.session import control_session
from nexusflow.settings import get_settings

_BATCH = 200
"""Chunks of objects, and other rows, deleted in one transaction."""

OLD_MONTHS = sa.text("SELECT month, live, runs FROM old_months(:days)")
PRUNE_OBJECTS = sa.text("SELECT prune_objects(:days, :month, :most)")
PRUNE_MONTH = sa.text("SELECT prune_month(:days, :month)")
PRUNE_ROWS = sa.text(
    "SELECT what, gone FROM prune_rows(:days, :most) UNION ALL SELECT what, gone FROM prune_signals(:days, :most)"
    " UNION ALL SELECT what, gone FROM prune_cached_outputs(:most)"
)


@dataclass(frozen=True)
class OldMonth:
    """A month past its retention: its runs, and how many that still live hold it back."""

    month: str
    runs: int
    live: int


@dataclass
class Pruned:
    """What went: months, objects outside the database, chunks of objects in it, other rows by their kind."""

    months: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    objects: int = 0
    chunks: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def old_months() -> list[OldMonth]:
    """The months past their retention, oldest first, whether they may go or not. Raises ClusterUnusable."""
    return [OldMonth(_name(row.month), row.runs, row.live) for row in _old_months()]


def prune() -> Pruned:
    """Delete what is past its retention; two at once do nothing twice. Raises ClusterUnusable, StorageAway.

    A month's objects go before the rows that name them: what breaks off is finished by the next call. A storage that is
    away holds back those rows alone.
    """
    gone, away = Pruned(), list[storage.StorageAway]()
    for row in _old_months():
        if row.live:
            gone.held.append(_name(row.month))
            continue
        try:
            gone.objects += storage.delete_month(row.month)
        except storage.StorageAway as error:
            away.append(error)
            continue
        gone.chunks += _prune_chunks(row.month)
        if _call(PRUNE_MONTH, month=row.month).scalar_one():
            gone.months.append(_name(row.month))
    _prune_rows(gone)
    if away:
        raise away[0]
    return gone


def _old_months() -> list[Any]:
    return list(_call(OLD_MONTHS))


def _prune_chunks(month: datetime.datetime) -> int:
    total = 0
    while count := int(_call(PRUNE_OBJECTS, month=month, most=_BATCH).scalar_one()):
        total += count
    return total


def _prune_rows(gone: Pruned) -> None:
    again = True
    while again:
        rows = [(str(row.what), int(row.gone)) for row in _call(PRUNE_ROWS, most=_BATCH)]
        for what, count in rows:
            gone.rows[what] = gone.rows.get(what, 0) + count
        again = any(count >= _BATCH for _, count in rows)


def _call(function: sa.TextClause, **parameters: Any) -> sa.Result[Any]:
    """Call one of the functions in a short transaction of its own."""
    with control_session() as connection:
        found = connection.execute(function, {"days": get_settings().retention_days, **parameters})
        return found.freeze()()


def _name(month: datetime.datetime) -> str:
    return storage.month_name(month)
