"""The outermost layer: an id, a log line and a count for each request, headers for each answer, and no trace ever."""

import time

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Refused, RequestInvalid, error_response, internal_error
from api.visits import Visit, begin_visit
from nexusflow.errors import NexusError, NotFound, Problem
from nexusflow.log import crash_fields, get_logger

MAX_ADDRESS = 8_192
"""The longest path with its query, in bytes."""
HUNG_UP = 499
"""The status logged for a client that went away before it was answered (nginx's number)."""
STREAMS = "/events"
"""What would not end, and so has no HEAD."""
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
}
"""On every answer that does not say otherwise. Answers of the API are not kept by caches, either."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter, which nobody asks for
registry = CollectorRegistry(auto_describe=False)
requests_total = Counter(
    "nexusflow_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
)
request_seconds = Histogram(
    "nexusflow_http_request_seconds",
    "Seconds from a request's head to the end of its answer.",
    ["route"],
    registry=registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)

log = get_logger(__name__)


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        visit = begin_visit(scope)
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _dress(message, visit, scope["path"])
            await send(message)

        if scope["method"] == "HEAD" and not scope["path"].endswith(STREAMS):
            scope = {**scope, "method": "GET"}  # the server knows, and leaves the body out
        structlog.contextvars.bind_contextvars(request_id=visit.request_id)
        try:
            if (refused := _refused(scope)) is not None:
                await error_response(Request(scope), refused)(scope, receive, dressed)
            else:
                await self._app(scope, receive, dressed)
        except ClientDisconnect:
            status = status or HUNG_UP
        except Exception as error:
            log.error("request.crashed", **crash_fields(error))
            if status:  # too late for an answer: the connection has to be cut, without the server telling of values
                raise RuntimeError("an answer was cut off; see request.crashed") from None
            await internal_error(Request(scope))(scope, receive, dressed)
        finally:
            _note(scope, visit, status or HUNG_UP, time.perf_counter() - began)
            structlog.contextvars.unbind_contextvars("request_id")


def _refused(scope: Scope) -> NexusError | None:
    """What is wrong with the address itself."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_ADDRESS:
        return Refused("URI_TOO_LONG", f"The address is longer than {MAX_ADDRESS:,} bytes.")
    if "\x00" in scope["path"]:
        return NotFound("There is nothing at an address with a NUL character.")
    if b"%00" in scope["query_string"]:
        told = "A parameter holds a NUL character, which nothing here does."
        return RequestInvalid([Problem("?", None, None, "CHARACTER_REFUSED", told, "Remove %00.")])
    return None


def _dress(message: Message, visit: Visit, path: str) -> None:
    headers = MutableHeaders(raw=message["headers"])
    present = {name for name, _ in message["headers"]}
    for name, value in SECURITY.items():
        if name.encode() not in present:
            headers.append(name, value)
    if b"cache-control" not in present and path.startswith("/v2"):
        headers.append("cache-control", "no-store")
    headers.append("x-request-id", visit.request_id)
    headers.raw.extend(visit.headers)
    message["headers"] = headers.raw


def _note(scope: Scope, visit: Visit, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "") or "(none)"
    method = scope["method"] if scope["method"] in METHODS else "(other)"
    requests_total.labels(method, route, str(status)).inc()
    request_seconds.labels(route).observe(seconds)
    tell = log.debug if route in QUIET else log.info
    tell(
        "request.answered",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        tenant=visit.tenant,
    )
