"""Errors as HTTP shows them: a code of a fixed list, what is wrong, what to do; never a trace."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from api.answers import Meta, failure
from api.visits import visit_of
from nexusflow.db.session import DATABASE_DOWN
from nexusflow.errors import NexusError, NotFound, Problem, QueueFull
from nexusflow.log import get_logger
from nexusflow.pointers import child

log = get_logger(__name__)

RETRY_SECONDS = 2
"""What a caller is asked to wait when the database is away."""

CODES: dict[str, tuple[int, str]] = {
    "ARCHIVED": (409, "The workflow is archived and starts nothing."),
    "BODY_TOO_LARGE": (413, "The body is larger than this door takes."),
    "CANNOT_EXPORT": (409, "The run is not over, or more than a test file holds."),
    "CANNOT_PUBLISH": (409, "The workflow cannot be published as it is."),
    "CLUSTER_UNUSABLE": (503, "The database cannot be used at the moment: try again after Retry-After."),
    "CROSS_SITE": (403, "A request by the page's cookie came from another site."),
    "IDEMPOTENCY_KEY_REUSED": (409, "The Idempotency-Key came before, with another request."),
    "INTERNAL": (500, "A defect of NexusFlow; its log names the request's id."),
    "INVALID_DEFINITION": (422, "The workflow definition has problems; `details` names each with its place."),
    "INVALID_INPUT": (422, "Input or an argument cannot be used; `details` names each problem with its pointer."),
    "LIMIT_REACHED": (409, "As many runs of the workflow live as its `concurrency` allows, and it refuses more."),
    "METHOD_NOT_ALLOWED": (405, "The address is right, its method is not."),
    "NAME_TAKEN": (409, "Another workflow has the name."),
    "NOBODY_WAITS": (409, "No run waits for the event, and the signal was not to be kept."),
    "NOTHING_FAILED": (409, "Nothing failed in the run, so there is nothing to repeat from there."),
    "NOT_FOUND": (404, "Nothing of this tenant's is there, or the address is wrong."),
    "NOT_JSON": (400, "The body is no JSON."),
    "OVERLOADED": (503, "Too many requests wait already: try again after Retry-After."),
    "QUEUE_FULL": (429, "As many of the tenant's runs wait to start as may: try again after Retry-After."),
    "RATE_LIMITED": (429, "The tenant's requests of this minute are used up: try again after Retry-After."),
    "REPEATED_ALREADY": (409, "Another run repeats it already (told of single runs, where many are repeated)."),
    "REQUEST_TIMEOUT": (408, "The body did not arrive in time."),
    "RERUN_DOES_NOT_FIT": (409, "What the run has kept does not fit the version; `details` names each step and field."),
    "RUN_IS_LIVE": (409, "The run is not over, so it cannot be repeated yet."),
    "TOO_DEEP": (400, "The body's lists and objects are nested too deeply."),
    "UNAUTHORIZED": (401, "The API key is missing, unknown, expired or revoked."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "The body's Content-Type is not one of those taken here."),
    "URI_TOO_LONG": (414, "The address is too long."),
    "VALIDATION_ERROR": (422, "Fields, parameters or headers cannot be used; `details` names each."),
    "VERSION_CHANGED": (412, "Someone saved a version since the one in If-Match."),
}
"""Every code an answer may carry, with its status."""


class Detail(BaseModel):
    """One problem and its place."""

    path: str = Field(description="A JSON Pointer into the body or definition, `?name` or a header's name.")
    line: int | None = None
    column: int | None = None
    code: str
    message: str
    hint: str = ""


class Failure(BaseModel):
    """What is wrong, and what to do about it."""

    code: str = Field(description="One of a fixed list.", examples=sorted(CODES))
    message: str
    hint: str = ""
    details: list[Detail] = []


class ErrorAnswer(BaseModel):
    """An error."""

    error: Failure
    meta: Meta


class RequestInvalid(NexusError):
    """Fields, parameters or headers that cannot be used: ``VALIDATION_ERROR``, 422."""

    def __init__(self, problems: list[Problem], message: str = "The request cannot be used.") -> None:
        super().__init__("VALIDATION_ERROR", message, status=422, details=problems)


class Refused(NexusError):
    """A request that is turned away by one of this door's own codes."""

    def __init__(self, code: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code, message, hint, CODES[code][0])
        self.headers = dict(headers or {})


def unavailable(code: str, message: str) -> Refused:
    """Something that passes: with a Retry-After."""
    hint = "Send it again, with the same Idempotency-Key if it may have been done: what was accepted is kept."
    return Refused(code, message, hint, headers={"Retry-After": str(RETRY_SECONDS)})


def add_error_handlers(app: FastAPI) -> None:
    """Give every error its envelope, the framework's own included."""
    app.add_exception_handler(NexusError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in DATABASE_DOWN:
        app.add_exception_handler(kind, _away)


def error_response(request: Request, error: NexusError) -> Response:
    """The answer to an expected error."""
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, QueueFull):
        headers["Retry-After"] = str(error.retry_in)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="nexusflow"'
    body = {"code": error.code, "message": error.message, "hint": hint_of(error)}
    return failure(request, body | {"details": [each.as_dict() for each in error.details]}, error.status, headers)


def hint_of(error: NexusError) -> str:
    """What to do about an error, for who comes with an API key."""
    if isinstance(error, NotFound):
        return error.hint or "Check the id: it must be one of this API key's tenant."
    return error.hint


def internal_error(request: Request) -> Response:
    """The answer to a defect: nothing of it but the request's id."""
    hint = f"Report it with the request's id, {visit_of(request).request_id}."
    return error_response(request, NexusError("INTERNAL", "Something went wrong inside NexusFlow.", hint, 500))


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, NexusError)  # noqa: S101 - what it is registered for
    if error.status < 500 or isinstance(error, Refused):
        return error_response(request, error)
    if error.status == 503:
        return await _away(request, error)
    log.error("request.refused", request_id=visit_of(request).request_id, code=error.code, message=error.message)
    return internal_error(request)


async def _away(request: Request, error: Exception) -> Response:
    """What the driver says names hosts and roles: it is for the log."""
    reason = str(error).strip().splitlines() or [type(error).__name__]
    log.warning("database.away", request_id=visit_of(request).request_id, reason=reason[0][:300])
    return error_response(request, unavailable("CLUSTER_UNUSABLE", "The database cannot be used at the moment."))


async def _http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: wrong addresses and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    shown = request.url.path[:200]
    if error.status_code == 404:
        wrong = NexusError("NOT_FOUND", f"There is nothing at {shown}.", "GET /docs shows what there is.", 404)
        return error_response(request, wrong)
    if error.status_code == 405:
        allowed = ", ".join(_methods(request)) or dict(error.headers or {}).get("Allow", "")
        message = f"{request.method[:20]} is not possible at {shown}."
        wrong = Refused("METHOD_NOT_ALLOWED", message, f"Possible: {allowed}.", headers={"Allow": allowed})
        return error_response(request, wrong)
    return error_response(request, NexusError("NOT_JSON", "The body cannot be read.", "Send JSON.", error.status_code))


def _methods(request: Request) -> list[str]:
    """All that is possible at an address; the framework names the first route's methods only."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    found = {
        method.upper()
        for path, each in paths.items()
        if compile_path(path)[0].match(request.url.path)
        for method in each
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    return error_response(request, RequestInvalid(problems_of(error.errors())))


def problems_of(errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """pydantic's errors, each at a JSON Pointer of the body, or at a parameter (``?page``) or header."""
    return [Problem(_place(each["loc"]), None, None, *_told(each)) for each in errors]


def _place(location: tuple[int | str, ...]) -> str:
    if location and location[0] in ("query", "header", "path", "cookie") and len(location) > 1:
        return f"?{location[1]}" if location[0] == "query" else str(location[1])
    pointer = ""
    for each in location[1:] if location and location[0] == "body" else location:
        pointer = child(pointer, each)
    return pointer


_A_TIME = "It must be a time with its zone, such as 2026-01-31T09:30:00Z."
_TOLD = {
    "dict_type": "It must be an object.",
    "model_type": "It must be an object.",
    "list_type": "It must be a list.",
    "string_type": "It must be text.",
    "int_type": "It must be a whole number.",
    "int_parsing": "It must be a whole number.",
    "int_parsing_size": "It must be a whole number, of fewer digits.",
    "int_from_float": "It must be a whole number.",
    "float_type": "It must be a number.",
    "float_parsing": "It must be a number.",
    "bool_type": "It must be true or false.",
    "bool_parsing": "It must be true or false.",
    "greater_than_equal": "It must be at least {ge}.",
    "less_than_equal": "It must be at most {le}.",
    "too_short": "It must have at least {min_length}; it has {actual_length}.",
    "too_long": "It must have at most {max_length}; it has {actual_length}.",
    "string_too_short": "It must have at least {min_length} characters.",
    "string_too_long": "It must have at most {max_length} characters.",
    "literal_error": "It must be {expected}.",
    "timezone_aware": _A_TIME,
    "datetime_type": _A_TIME,
    "datetime_parsing": _A_TIME,
    "datetime_from_date_parsing": _A_TIME,
    "datetime_object_invalid": _A_TIME,
}
"""pydantic's kinds of errors that requests meet, in the words of HTTP and JSON, not of Python."""


def _told(error: Mapping[str, Any]) -> tuple[str, str]:
    name = str(error["loc"][-1]) if error["loc"] else ""
    match error["type"]:
        case "missing":
            return "MISSING", f"'{name}' is needed."
        case "extra_forbidden":
            return "UNKNOWN_FIELD", f"'{name[:80]}' is not known here."
        case "value_error":
            return "INVALID_VALUE", str(error["msg"]).removeprefix("Value error, ").rstrip(".") + "."
        case kind if kind in _TOLD:
            return "INVALID_VALUE", _TOLD[kind].format(**error.get("ctx", {}))
        case _:
            return "INVALID_VALUE", f"{str(error['msg']).rstrip('.')}."
