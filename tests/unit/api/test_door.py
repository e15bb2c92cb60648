"""Around every request: defects show nothing of themselves, and clients that leave are no defects."""

import asyncio
import json
from typing import Any

import pytest
import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import LogCapture

from api.door import Door

SECRET = "a-tenants-value"  # what a defect's message may quote


def _ask(door: Door, path: str = "/v2/x", **headers: str) -> list[Message]:
    sent: list[Message] = []
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(door({**scope, "headers": given, "server": ("127.0.0.1", 80), "scheme": "http"}, receive, send))
    return sent


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is logged."""
    capture = LogCapture()
    processors = [structlog.contextvars.merge_contextvars, capture]
    logger = structlog.wrap_logger(None, processors, wrapper_class=structlog.make_filtering_bound_logger(20))
    monkeypatch.setattr("api.door.log", logger)
    return capture.entries


def test_a_defect_is_answered_without_a_trace_and_told_in_the_log_without_values(lines: list[Any]) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError(SECRET)

    start, body = _ask(Door(broken), x_request_id="job-1")
    answer = json.loads(body["body"])
    assert start["status"] == 500
    assert (answer["error"]["code"], answer["meta"]["request_id"]) == ("INTERNAL", "job-1")
    assert "job-1" in answer["error"]["hint"]
    crash, line = lines
    assert (crash["event"], crash["request_id"]) == ("request.crashed", "job-1")
    assert crash["errors"][0]["type"] == "builtins.KeyError"
    assert (line["event"], line["status"], line["route"]) == ("request.answered", 500, "(none)")
    assert SECRET not in str([answer, crash, line])


def test_an_answer_that_breaks_off_is_cut_without_telling_the_server_why(lines: list[Any]) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError(SECRET)

    with pytest.raises(RuntimeError) as caught:
        _ask(Door(broken))
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_client_that_left_is_noted_and_no_defect(lines: list[Any]) -> None:
    async def left(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    assert _ask(Door(left)) == []
    (line,) = lines
    assert (line["event"], line["status"]) == ("request.answered", 499)
