"""Faults on demand: the next calls of a vendor fail the way the real one might."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from nexusflow.embedded.vendors.calls import CallLog

VENDORS = ("openai", "hubspot", "s3", "smtp")
KINDS = ("status", "hang", "drop", "delay", "answer", "refusal")
LONGEST_HANG = 3_600.0


@dataclass(frozen=True)
class Fault:
    """How one call fails.

    status: answer with that status, and ``retry_after`` seconds in Retry-After · hang: say nothing ·
    drop: close the connection in the middle · delay: wait ``seconds``, then answer as usual ·
    answer, refusal: the model says ``text``, or refuses with it.
    """

    kind: str
    status: int = 500
    retry_after: str = ""
    seconds: float = LONGEST_HANG
    text: str = ""


@dataclass
class Faults:
    """The faults that wait, by vendor."""

    _waiting: dict[str, deque[Fault]] = field(default_factory=dict)

    def add(self, asked: dict[str, Any]) -> None:
        """Let the next ``count`` calls of ``vendor`` fail; raises ValueError for what it does not know."""
        if asked.get("vendor") not in VENDORS or asked.get("kind") not in KINDS:
            raise ValueError(f"vendor is one of {', '.join(VENDORS)}; kind one of {', '.join(KINDS)}")
        fault = Fault(
            kind=asked["kind"],
            status=int(asked.get("status", 500)),
            retry_after=str(asked.get("retry_after", "")),
            seconds=min(float(asked.get("seconds", LONGEST_HANG)), LONGEST_HANG),
            text=str(asked.get("text", "")),
        )
        waiting = self._waiting.setdefault(asked["vendor"], deque())
        waiting.extend([fault] * min(int(asked.get("count", 1)), 100_000))

    def take(self, vendor: str) -> Fault | None:
        """The fault of the vendor's call that happens now."""
        waiting = self._waiting.get(vendor)
        return waiting.popleft() if waiting else None

    def clear(self) -> None:
        """No more faults."""
        self._waiting.clear()


class FaultGate:
    """In front of the HTTP vendors: lets a call through, or fails it as asked."""

    def __init__(self, app: ASGIApp, faults: Faults, calls: CallLog) -> None:
        self._app, self._faults, self._calls = app, faults, calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        vendor = scope.get("path", "").split("/")[1] if scope["type"] == "http" else ""
        fault = self._faults.take(vendor) if vendor in VENDORS else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        key = next((value.decode() for name, value in scope["headers"] if name == b"idempotency-key"), "")
        self._calls.add(vendor, "fault", idempotency_key=key, kind=fault.kind, path=scope["path"])
        if fault.kind == "drop":
            # An answer that ends before its length: the server closes the connection, the client sees it broken.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return
        if fault.kind in ("hang", "delay"):
            await _wait_or_disconnect(fault, receive if fault.kind == "hang" else None)
            if fault.kind == "hang":
                return
        if fault.kind == "status":
            while (await receive()).get("more_body"):
                pass
            await _failed(fault, vendor)(scope, receive, send)
            return
        scope["nexusflow.fault"] = fault
        await self._app(scope, receive, send)


async def _wait_or_disconnect(fault: Fault, receive: Receive | None) -> None:
    end = asyncio.get_running_loop().time() + fault.seconds
    while (left := end - asyncio.get_running_loop().time()) > 0:
        if receive is None:
            await asyncio.sleep(left)
            continue
        try:
            message = await asyncio.wait_for(receive(), left)
        except TimeoutError:
            return
        if message["type"] == "http.disconnect":
            return


def _failed(fault: Fault, vendor: str) -> Response:
    headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
    message = f"fault on demand: {fault.status}"
    if vendor == "s3":
        body = f"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>{message}</Message></Error>"
        return Response(body, fault.status, headers, "application/xml")
    shown: Any = {"message": message, "category": "FAULT"}
    return JSONResponse({"error": shown} if vendor == "openai" else shown, fault.status, headers)
