"""JSON that means one thing only."""

from typing import Any

import pytest

from api.bodies import parse_json, to_model
from api.errors import Refused, RequestInvalid
from api.shapes import SaveWorkflow, StartBatch, StartRun
from nexusflow.errors import NexusError


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("", "NOT_JSON", "line 1"),
        ("{", "NOT_JSON", "line 1"),
        ('{"a": 1} x', "NOT_JSON", "column 10"),
        ('{"a": NaN}', "NOT_JSON", ""),
        ('{"a": Infinity}', "NOT_JSON", ""),
        ('{"a": 1e999}', "NOT_JSON", ""),
        ('{"a": 123456789012345678901}', "NOT_JSON", "too large"),
        ('{"a": 1, "b": {"x": 1, "x": 2}}', "NOT_JSON", "'x' is twice"),
        ('{"a": 1, "\\u0061": 2}', "NOT_JSON", "'a' is twice"),
        ('{"a": "\\ud800"}', "NOT_JSON", ""),
        ("\ufeff{}", "NOT_JSON", ""),
        ("{'a': 1}", "NOT_JSON", ""),
        ("[" * 65 + "]" * 65, "TOO_DEEP", "64"),
        ('{"a":' * 65 + "1" + "}" * 65, "TOO_DEEP", "64"),
        ("[" * 100_000 + "]" * 100_000, "TOO_DEEP", "64"),
        ("[" * 100_000, "TOO_DEEP", "64"),
        ('{"a": ["x", "b\\u0000c"]}', "VALIDATION_ERROR", ""),
        ('{"\\u0000": 1}', "VALIDATION_ERROR", ""),
    ],
)
def test_what_is_refused(text: str, code: str, word: str) -> None:
    with pytest.raises(NexusError) as caught:
        parse_json(text.encode())
    assert caught.value.code == code
    assert word in caught.value.message


@pytest.mark.parametrize("raw", [b'"\xff"', b'"\xed\xa0\x80"', "{}".encode("utf-16"), b"\x00"])
def test_what_is_no_utf8_is_no_json(raw: bytes) -> None:
    with pytest.raises(Refused):
        parse_json(raw)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        ('{"a": 9223372036854775807}', {"a": 2**63 - 1}),
        ("[" * 64 + "]" * 64, None),
        ('["' + "[{" * 100 + '"]', ["[{" * 100]),
        ('["\\"' + "[" * 100 + '"]', ['"' + "[" * 100]),
    ],
)
def test_what_is_taken_as_it_is(text: str, value: Any) -> None:
    found = parse_json(text.encode())
    assert value is None or found == value


def test_a_nul_is_refused_where_it_stands() -> None:
    with pytest.raises(RequestInvalid) as caught:
        parse_json(b'{"input": {"names": ["x", "a\\u0000"]}}')
    assert caught.value.details[0].path == "/input/names/1"


@pytest.mark.parametrize(
    ("model", "value", "places"),
    [
        (StartRun, [], {"": "INVALID_VALUE"}),
        (StartRun, {"inputs": {}, "version": "3"}, {"/inputs": "UNKNOWN_FIELD", "/version": "INVALID_VALUE"}),
        (StartRun, {"input": []}, {"/input": "INVALID_VALUE"}),
        (StartRun, {"version": 2**31}, {"/version": "INVALID_VALUE"}),
        (StartBatch, {}, {"/inputs": "MISSING"}),
        (StartBatch, {"inputs": [{}, 7]}, {"/inputs/1": "INVALID_VALUE"}),
        (SaveWorkflow, {}, {"": "INVALID_VALUE"}),
        (SaveWorkflow, {"source": "x", "publish": 1}, {"/publish": "INVALID_VALUE"}),
    ],
)
def test_fields_that_do_not_fit_are_all_named(model: Any, value: Any, places: dict[str, str]) -> None:
    with pytest.raises(RequestInvalid) as caught:
        to_model(value, model)
    assert {each.path: each.code for each in caught.value.details} == places
    assert all(each.message.endswith(".") for each in caught.value.details)
