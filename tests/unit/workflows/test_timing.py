"""When ticks are: cron beside a plain reading of it, clock changes, intervals, and what counts as missed."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from nexusflow.workflows.clock.ticks import GRACE, split_ticks
from nexusflow.workflows.language.timing import CronProblem, Timing, check_cron, latest_times, next_times

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def berlin(cron: str, after: datetime, count: int) -> list[str]:
    """The next ticks as a clock on a wall in Berlin shows them, with its offset."""
    found = next_times(Timing(cron=cron, timezone="Europe/Berlin"), after, count)
    return [f"{each.astimezone(BERLIN):%d %H:%M %z}" for each in found]


def test_a_time_that_does_not_exist_ticks_once_right_after_the_gap() -> None:
    evening = datetime(2026, 3, 28, 20, tzinfo=UTC)  # on the 29th, 02:00 becomes 03:00
    assert berlin("30 2 * * *", evening, 3) == ["29 03:00 +0200", "30 02:30 +0200", "31 02:30 +0200"]
    assert berlin("0,30 2 * * *", evening, 2) == ["29 03:00 +0200", "30 02:00 +0200"]
    assert berlin("*/30 * * * *", datetime(2026, 3, 29, 0, tzinfo=UTC), 3) == [
        "29 01:30 +0100",
        "29 03:00 +0200",
        "29 03:30 +0200",
    ]


def test_a_time_that_comes_twice_ticks_once() -> None:
    evening = datetime(2026, 10, 24, 20, tzinfo=UTC)  # on the 25th, 03:00 becomes 02:00
    assert berlin("30 2 * * *", evening, 2) == ["25 02:30 +0200", "26 02:30 +0100"]
    # Asked in the hour's second coming, the first one is over.
    assert berlin("30 2 * * *", datetime(2026, 10, 25, 1, 10, tzinfo=UTC), 1) == ["26 02:30 +0100"]
    assert berlin("0 * * * *", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), 3) == [
        "25 02:00 +0200",
        "25 02:00 +0100",
        "25 03:00 +0100",
    ]


def test_ticks_of_a_year_are_those_of_a_plain_reading() -> None:
    """Every minute of the year asked by itself, the clock on the wall turned into fields."""
    hours = {0, 1, 2, 3, 13}
    for cron, matches in (
        ("15 13 * * MON-FRI", lambda at: at.minute == 15 and at.hour == 13 and at.weekday() < 5),
        ("*/20 * 1,15 * *", lambda at: at.minute % 20 == 0 and at.day in (1, 15)),
        ("0 13 13 * FRI", lambda at: at.minute == 0 and at.hour == 13 and (at.day == 13 or at.weekday() == 4)),
        ("* 0-3,13 29 2-6 *", lambda at: at.hour in hours and at.day == 29 and 2 <= at.month <= 6),
    ):
        start = datetime(2026, 1, 1, tzinfo=UTC)
        minutes = (start + timedelta(minutes=each) for each in range(1, 365 * 1440))
        expected = [at for at in minutes if matches(at.astimezone(BERLIN))]
        found = next_times(Timing(cron=cron, timezone="Europe/Berlin"), start, len(expected))
        assert found == expected, cron


def test_ticks_always_go_forward() -> None:
    chance = random.Random(7)
    for _ in range(300):
        fields = [
            chance.choice(["*", "*/7", "0", "30", "5,45"]),
            chance.choice(["*", "1-3", "2", "*/2"]),
            "*",
            "*",
            "*",
        ]
        zone = chance.choice(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"])
        after = datetime(2026, chance.choice([3, 4, 10]), chance.randint(1, 30), tzinfo=UTC)
        after += timedelta(seconds=chance.randint(0, 86_400))
        timing = Timing(cron=" ".join(fields), timezone=zone)
        found = next_times(timing, after, 60)
        assert [after, *found] == sorted({after, *found}), (timing, after)
        # Asked again from any of them, the same ones follow: no beat's restart changes the sequence.
        place = chance.randrange(50)
        assert next_times(timing, found[place], 5) == found[place + 1 : place + 6], (timing, found[place])


def test_an_interval_counts_from_its_anchor() -> None:
    timing, anchor = Timing(interval=900.0), NOW
    step = timedelta(minutes=15)
    assert next_times(timing, anchor, 2, anchor) == [anchor + step, anchor + 2 * step]
    late = anchor + 1000 * step + timedelta(seconds=1)
    assert next_times(timing, late, 1, anchor) == [anchor + 1001 * step]
    assert next_times(timing, anchor - timedelta(hours=9), 1, anchor) == [anchor + step]


@pytest.mark.parametrize(
    ("cron", "says", "offset"),
    [
        ("60 * * * *", "'60' is no minute", 0),
        ("0  24 * * *", "'24' is no hour", 3),
        ("0 0 0 * *", "day of the month", 4),
        ("0 0 * FOO *", "'FOO' is no month", 6),
        ("0 0 * * 8", "day of the week", 8),
        ("0 0 31 4,6,9,11 *", "no such day", None),
        ("0 0 30 2 *", "no such day", None),
        ("* * * *", "4 fields", None),
        ("", "0 fields", None),
        ("*/0 * * * *", "no minute", 0),
        ("5-1 * * * *", "no minute", 0),
        ("² * * * *", "no minute", 0),
    ],
)
def test_a_bad_cron_expression_is_told_by_its_field(cron: str, says: str, offset: int | None) -> None:
    with pytest.raises(CronProblem) as told:
        check_cron(cron, NOW)
    assert says in str(told.value)
    assert told.value.offset == offset


@pytest.mark.parametrize(
    "cron", ["0 0 29 2 *", "0 0 L * *", "0 0 LW * *", "0 9 * * MON#5", "0 0 30 2 MON", "0 0 * 2 5L"]
)
def test_a_rare_cron_expression_is_fine(cron: str) -> None:
    check_cron(cron, NOW)


def test_latest_times_of_a_long_sleep() -> None:
    timing = Timing(cron="* 0 1 1 *")  # sixty minutes a year
    found = latest_times(timing, NOW, datetime(2016, 1, 1, tzinfo=UTC), NOW, 61)
    assert (len(found), found[0], found[-1]) == (
        61,
        datetime(2025, 1, 1, 0, 59, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 59, tzinfo=UTC),
    )
    first = NOW - timedelta(seconds=5)
    assert latest_times(Timing(interval=1.0), NOW - timedelta(hours=1), first, NOW, 100)[0] == first


@pytest.mark.parametrize(("misfire", "expected"), [("skip", ([], 3)), ("last", ([3], 2)), ("all", ([1, 2, 3], None))])
def test_what_becomes_of_missed_ticks(misfire: str, expected: tuple[list[int], int | None]) -> None:
    """An hourly schedule, and nobody there from before its tick 1 until after its tick 3."""
    timing = Timing.from_json({"interval": 3600.0, "misfire": misfire})
    ticks = [NOW + timedelta(hours=each) for each in range(5)]
    runs, skipped = split_ticks(timing, NOW, ticks[1], ticks[3] + timedelta(minutes=20))
    assert runs == [ticks[each] for each in expected[0]]
    assert skipped == ([] if expected[1] is None else [ticks[expected[1]]])


@pytest.mark.parametrize("misfire", ["skip", "last", "all"])
def test_a_tick_within_the_grace_is_on_time(misfire: str) -> None:
    timing = Timing.from_json({"interval": 1.0, "misfire": misfire, "misfire_limit": 3})
    now = NOW + timedelta(hours=1)
    on_time = [now - GRACE + timedelta(seconds=each) for each in range(31)]
    assert split_ticks(timing, NOW, on_time[10], now) == (on_time[10:], [])
    runs, skipped = split_ticks(timing, NOW, NOW + timedelta(seconds=1), now)
    missed = [on_time[0] - timedelta(seconds=each) for each in (3, 2, 1)] if misfire == "all" else []
    assert runs == missed + on_time
    assert len(skipped) == 1
