"""No value of any parameter, header or body is a defect: every operation of the reference is sent odd ones."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.api.front import Front, hello

STREAMS = "/v2/events"
"""Answers that do not end."""
ODD = (
    "",
    "0",
    "-1",
    "1e9",
    "9" * 30,
    "nan",
    "null",
    "a'b\"c;--",
    "%",
    "\\",
    "ünï \U0001f600 \u202e",
    "x" * 2000,
    "0199f0a1-2b4c-7d8e-8f90-a1b2c3d4e5f6",
    "{0199f0a1-2b4c-7d8e-8f90-a1b2c3d4e5f6}",
    "2026-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "[]",
    "a,b",
)
BODIES: tuple[Any, ...] = (
    None,
    [],
    "text",
    7,
    {},
    {"source": 7},
    {"source": "\U0001f600: ["},
    {"source": "steps:\n- &a {id: *a}"},
    {"definition": {"": {"": [{"": None}]}}},
    {"definition": {"nexusflow": "1", "name": "x", "steps": [[]]}},
    {"input": {"": {"": [1e308, -(2**63), "\U0001f600", {"$file": 7}, {"$large": 1}]}}},
    {"input": None},
    {"name": "odd", "key": "\U0001f600", "data": {"": [1e308, {"$large": 1}]}, "keep_for": "1e9d"},
    {"name": "odd", "keep_for": None, "only_if_awaited": 1},
    {"inputs": [{}] * 3 + [None]},
    {"version": 2**31 - 1},
    {"version": True},
    {"publish": None, "source": ""},
)


def forged(sort: str, *position: Any) -> str:
    """A cursor whose check is right and whose content is not."""
    data = json.dumps([sort, *position], separators=(",", ":")).encode()
    check = hashlib.blake2b(data, digest_size=4).digest()
    return base64.urlsafe_b64encode(check + data).decode().rstrip("=")


CURSORS = [
    forged("name", 7, "no id"),
    forged("name", None, None),
    forged("-accepted_at", "no id"),
    forged("-accepted_at", "no id", "no id"),
    forged("-accepted_at", {"a": []}, 2**70),
    forged("finished_at", "not a time", "0199f0a1-2b4c-7d8e-8f90-a1b2c3d4e5f6"),
]


def _operations(front: Front) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in front.promises.document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


@pytest.fixture(scope="module")
def known(front: Front) -> dict[str, str]:
    """Path parameters that name something."""
    workflow = front.create(hello("odd"))
    run = front.want(202, "POST", f"/v2/workflows/{workflow}/run", {})["id"]
    signal = front.want(202, "POST", "/v2/signals", {"name": "odd"})["id"]
    return {
        "signal_id": signal,
        "workflow_id": workflow,
        "run_id": run,
        "number": "1",
        "name": "transform",
        "path": "greet",
    }


def _fill(path: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


def test_odd_parameters_are_no_defect(front: Front, known: dict[str, str]) -> None:
    asked = 0
    for method, path, operation in _operations(front):
        if path == STREAMS or method == "DELETE":
            continue
        for parameter in operation.get("parameters", []):
            for value in ODD + (tuple(CURSORS) if parameter["name"] == "cursor" else ()):
                options: dict[str, Any] = {}
                filled = _fill(path, known)
                if parameter["in"] == "path":
                    filled = _fill(path, known | {parameter["name"]: value})
                elif parameter["in"] == "query":
                    sorts = {"sort": json.loads(_content(value))[0]} if value in CURSORS else {}
                    options["params"] = {parameter["name"]: value} | sorts
                elif value.isascii():
                    options["headers"] = {parameter["name"]: value}
                answer = (
                    front.ask(method, filled, **options) if "events" not in filled else _brief(front, filled, options)
                )
                assert answer is None or answer.status_code < 500, (method, filled, options, answer.text)
                asked += 1
    assert asked > 500


def _content(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "==")[4:]


def _brief(front: Front, path: str, options: dict[str, Any]) -> Any:
    """A page of events in the place of a stream."""
    options["params"] = {"format": "json"} | options.get("params", {})
    with front.client.stream("GET", path, **options) as answer:
        assert answer.status_code < 500, (path, options)


def test_odd_bodies_are_no_defect(front: Front, known: dict[str, str]) -> None:
    asked = 0
    for method, path, operation in _operations(front):
        if method not in ("POST", "PUT") or "requestBody" not in operation:
            continue
        for body in BODIES:
            answer = front.ask(method, _fill(path, known), json.dumps(body) and body, headers={"X-Odd": "1"})
            assert answer.status_code < 500, (method, path, body, answer.text)
            asked += 1
    assert asked > 60
