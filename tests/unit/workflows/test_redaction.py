"""A run's sensitive input turns up nowhere in what is shown."""

import json
import time

import pytest

from nexusflow.log import crash_fields
from nexusflow.workflows.reports.redaction import Redaction
from nexusflow.workflows.reports.report_rows import Failure, RunRecords


@pytest.mark.parametrize(
    ("shown", "masked"),
    [
        ("sesame", "***"),
        ("open sesame, Sesame, sesamesesame!", "open ***, Sesame, ******!"),
        ('{"quoted": "a \\"b\\" \\u00e9\\n"}', '{"quoted": "***"}'),
        ("https://example.com/?t=a%20%22b%22%20%C3%A9%0A&u=1", "https://example.com/?t=***&u=1"),
        ("https://example.com/?t=a+%22b%22+%C3%A9%0A&u=1", "https://example.com/?t=***&u=1"),
        ("pin 4711, id 147112", "pin ***, id 1***2"),
        ("cat dog", "cat dog"),
        ("abcdefghij", "***ij"),
        ({"sesame": ["x", {"deep": "my sesame"}]}, {"***": ["x", {"deep": "my ***"}]}),
        ([4711, 471, True, None, 1.5], ["***", 471, True, None, 1.5]),
    ],
)
def test_every_occurrence_is_masked(shown: object, masked: object) -> None:
    secrets = ["sesame", 'a "b" \u00e9\n', 4711, "cat", True, None, "abcdef", "defgh"]
    assert Redaction(secrets).value(shown) == masked


def test_an_errors_code_and_place_stay_as_they_are() -> None:
    error = {
        "code": "HTTP_ERROR",
        "cause": "user",
        "step": "user",
        "message": "user is no HTTP_ERROR",
        "details": ["user"],
    }
    redaction = Redaction(["user", "HTTP_ERROR"])
    masked = error | {"message": "*** is no ***", "details": ["***"]}
    assert redaction.error(error) == masked
    assert redaction.event({"error": error, "reason": "user"}) == {"error": masked, "reason": "***"}
    records = RunRecords({}, {"user": [Failure("", "failed", 1, error)]}, [])
    assert redaction.records(records).failures == {"user": [Failure("", "failed", 1, masked)]}
    assert redaction.error(None) is None


def test_without_secrets_nothing_is_even_copied() -> None:
    value, records = {"a": ["b"]}, RunRecords({}, {}, [])
    for redaction in (Redaction(), Redaction(["abc", True, 12])):
        assert not redaction
        assert redaction.value(value) is value
        assert redaction.records(records) is records


def test_many_secrets_take_no_longer_than_one() -> None:
    redaction = Redaction(f"sk-live-{n:08}" for n in range(50_000))
    text = json.dumps([f"sk-live-{n:08}" for n in range(20_000)])
    began = time.monotonic()
    assert redaction.text(text) == json.dumps(["***"] * 20_000)
    assert time.monotonic() - began < 5


def test_a_logged_crash_tells_places_and_no_values() -> None:
    secret = "sesame"
    try:
        try:
            raise KeyError(secret)
        except KeyError as inner:
            raise ValueError(f"no {secret}") from inner
    except ValueError as error:
        fields = crash_fields(error)
    said = json.dumps(fields)
    assert "sesame" not in said
    assert "builtins.ValueError" in said
    assert "builtins.KeyError" in said
    assert "test_redaction.py" in said
