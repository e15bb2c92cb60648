"""When a schedule's ticks are: cron in its own time zone, or an interval from an anchor. Pure; all times are aware.

Cron is read as Debian's cron reads it, five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday;
names, ``L``, ``LW`` and ``MON#2`` are known). Where both day fields are restricted, either may match; where one begins
with ``*``, both must. When clocks change:

- A time of day that does not exist (02:30 on the night clocks go forward) ticks once, at the first minute that does.
- A time of day that comes twice (02:30 on the night they go back) ticks once, the first time.
- Where the minute or the hour begins with ``*``, ticks follow real time: none in the gap, and in both of the two hours.

An interval counts real time: ``1d`` is 24 hours whatever the clocks do.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

CRON_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_RANGES = ("0 to 59", "0 to 23", "1 to 31", "1 to 12 (or JAN to DEC)", "0 to 7 (or SUN to SAT)")
_INSTANT = timedelta(microseconds=1)
_FIRST_WINDOW = timedelta(minutes=10)


@dataclass(frozen=True)
class Timing:
    """When a schedule ticks and what becomes of ticks that nobody was there for.

    Either ``cron`` (with ``timezone``) or ``interval`` (seconds) is given.
    """

    cron: str | None = None
    interval: float | None = None
    timezone: str = "UTC"
    misfire: Literal["skip", "last", "all"] = "last"
    misfire_limit: int = 100

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a schedule's row."""
        return asdict(self)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> "Timing":
        """What ``to_json`` gave, here or in another release: words that this one does not know are left out."""
        return cls(**{field.name: spec[field.name] for field in fields(cls) if field.name in spec})


class CronProblem(ValueError):
    """What is wrong with a cron expression; ``offset``: of the bad field in its text, or None."""

    def __init__(self, message: str, hint: str = "", offset: int | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.offset = offset


def check_cron(text: str, now: datetime) -> None:
    """Raises CronProblem where an expression cannot be read or would never tick."""
    fields = text.split()
    if len(fields) != len(CRON_FIELDS):
        hint = 'The fields are minute, hour, day of the month, month, day of the week: "0 7 * * 1-5".'
        if len(fields) == len(CRON_FIELDS) + 1:
            hint = "Seconds are no field of it; for less than a minute write interval: 30s, say."
        raise CronProblem(f"it has {len(fields)} fields instead of five", hint)
    offset = 0
    for index, field in enumerate(fields):
        offset = text.index(field, offset)
        # A day of the month is tried beside a day of the week, so that only the field itself can be refused.
        alone = " ".join(field if place == index else "*" for place in range(len(fields)))
        if _first(alone, now) is None:
            message = f"'{field[:40]}' is no {CRON_FIELDS[index]}"
            hint = f"It is *, or numbers from {_RANGES[index]}, with , - and / between them."
            raise CronProblem(message, hint, offset)
        offset += len(field)
    if _first(text, now) is None:
        raise CronProblem("there is no such day, so it would never tick", "Correct the day or the month.")


def _first(text: str, now: datetime) -> datetime | None:
    try:
        return next(CronSim(text, now), None)
    except (CronSimError, ValueError, AssertionError):
        return None


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of the IANA time zones, without those that mean something else on each machine, or nothing."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def times_after(timing: Timing, after: datetime, anchor: datetime) -> Iterator[datetime]:
    """The ticks later than a moment, in UTC, in order. ``anchor``: where an interval is counted from."""
    if timing.interval is not None:
        step = timedelta(microseconds=round(timing.interval * 1_000_000))
        at = (anchor + max(1, (after - anchor) // step + 1) * step).astimezone(UTC)
        while True:
            yield at
            at += step
    for local in CronSim(timing.cron or "", after.astimezone(ZoneInfo(timing.timezone))):
        moment = local.astimezone(UTC)
        # In the hour that comes twice the library goes by the wall's clock, and may give a time that is over.
        if moment > after:
            yield moment
            after = moment


def next_times(timing: Timing, after: datetime, count: int, anchor: datetime | None = None) -> list[datetime]:
    """The next ticks after a moment, at most ``count``. ``anchor``: of an interval; default: that moment."""
    return list(islice(times_after(timing, after, anchor or after), count))


def latest_times(timing: Timing, anchor: datetime, first: datetime, until: datetime, most: int) -> list[datetime]:
    """The latest ``most`` ticks from ``first`` to ``until``, both included, in order.

    Looked for backwards in growing windows: a schedule a minute that slept for a year is no year's work.
    """
    window = _FIRST_WINDOW
    while True:
        since = max(first, until - window) - _INSTANT
        found = deque(takewhile(lambda at: at <= until, times_after(timing, since, anchor)), maxlen=most)
        if len(found) == most or since < first:
            return list(found)
        window *= 4
