"""How long a wait waits."""

from typing import Any

import pytest

from nexusflow.errors import Permanent
from nexusflow.workflows.engine.waiting import waiting_key, waiting_moment, waiting_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("1.5s", 1.5), ("1h30m", 5_400.0), ("2d", 172_800.0), ("1s1ms", 1.001)]
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert waiting_seconds(text) == seconds


@pytest.mark.parametrize("value", ["", "0s", "soon", "5", "-1s", " 5s", "5s ", "٥s", "367d", 5, None, ["5s"], True])
def test_what_is_no_duration_fails_the_step(value: Any) -> None:
    with pytest.raises(Permanent) as caught:
        waiting_seconds(value)
    assert (caught.value.code, caught.value.cause) == ("NOT_A_DURATION", "user")
    assert "15m" in caught.value.hint


def test_a_long_text_is_shown_shortened() -> None:
    for wait in (waiting_seconds, waiting_moment):
        with pytest.raises(Permanent) as caught:
            wait("x" * 10_000)
        assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-01T09:00:00+01:00", "2030-01-01T08:00:00+00:00"),
        ("2030-01-01T08:00:00Z", "2030-01-01T08:00:00+00:00"),
        ("2030-01-01T00:30:00.250+05:30", "2029-12-31T19:00:00.250000+00:00"),
    ],
)
def test_a_moment_is_told_in_utc(text: str, moment: str) -> None:
    assert waiting_moment(text) == moment


@pytest.mark.parametrize(
    "value", ["", "tomorrow", "2030-01-01", "2030-01-01T09:00:00", "2030-02-30T09:00:00Z", 5, None]
)
def test_what_is_no_moment_with_a_zone_fails_the_step(value: Any) -> None:
    with pytest.raises(Permanent) as caught:
        waiting_moment(value)
    assert (caught.value.code, caught.value.cause) == ("NOT_A_TIME", "user")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_moment_that_utc_cannot_say_fails_the_step(text: str) -> None:
    with pytest.raises(Permanent, match="out of range"):
        waiting_moment(text)


@pytest.mark.parametrize(("value", "key"), [("", ""), ("o-1041", "o-1041"), (1041, "1041"), ("ü" * 200, "ü" * 200)])
def test_a_key_is_a_text_or_a_whole_number(value: Any, key: str) -> None:
    assert waiting_key(value) == key


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"], {"a": 1}, "k" * 201, "a\nb", "a\x00"])
def test_what_is_no_key_fails_the_step(value: Any) -> None:
    with pytest.raises(Permanent) as caught:
        waiting_key(value)
    assert (caught.value.code, caught.value.cause) == ("NOT_A_KEY", "user")
    assert len(caught.value.message) < 300
    assert caught.value.hint
