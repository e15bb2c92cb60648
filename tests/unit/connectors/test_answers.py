"""Statuses, Retry-After and what lies beneath an error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from nexusflow.connectors.answers import causes, refusal, seconds_to_wait, shorten
from nexusflow.errors import Permanent, Transient


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("1.5", 1.5), ("-3", 0.0), ("1e9", 86_400.0), ("soon", None), ("", None), ("nan", None)],
)
def test_seconds_to_wait(text: str, seconds: float | None) -> None:
    assert seconds_to_wait({"Retry-After": text}) == seconds


def test_a_date_to_wait_for() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 <= (seconds_to_wait({"retry-after": later}) or 0) <= 60
    assert seconds_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert seconds_to_wait({}) is None
    assert seconds_to_wait(None) is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_passing_statuses(status: int) -> None:
    assert isinstance(refusal("The vendor", "v", status), Transient)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_lasting_statuses(status: int) -> None:
    error = refusal("The vendor", "shop", status, {}, "no\n such")
    assert isinstance(error, Permanent)
    assert "no such" in error.message
    assert (error.code == "CREDENTIAL_REFUSED") == (status in (401, 403))
    assert error.hint


def test_shorten() -> None:
    assert shorten("a\n b\0") == "a b␀"
    assert shorten("x" * 600) == "x" * 499 + "…"


def test_causes_looks_through_wrappings() -> None:
    try:
        try:
            raise TimeoutError
        except TimeoutError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        beneath = causes(error)
    assert beneath(TimeoutError)
    assert beneath(RuntimeError)
    assert not beneath(KeyError)
