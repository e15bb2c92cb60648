"""The one form of every answer: ``data`` or ``error``, ``meta``, and ``pagination`` on lists."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection
from starlette.responses import Response

from api.visits import visit_of
from nexusflow.workflows.rows.paging import Page

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
Data = TypeVar("Data")
Item = TypeVar("Item")


class Meta(BaseModel):
    """About the answer itself."""

    request_id: str = Field(description="Also in the header X-Request-Id, and in the log of a failure.")
    timestamp: datetime.datetime


class Pagination(BaseModel):
    """Where in a list an answer is."""

    page: int
    per_page: int
    total: int = Field(description="Exact up to 10,000.")
    total_capped: bool = Field(False, description="Whether there are more than `total`.")
    next_cursor: str | None = Field(None, description="Give it as `cursor` for the items after these; null at the end.")


class Answer(BaseModel, Generic[Data]):
    """A success."""

    data: Data
    meta: Meta


class Listing(BaseModel, Generic[Data]):
    """A page of a list."""

    data: list[Data]
    meta: Meta
    pagination: Pagination


def answer(
    request: HTTPConnection, data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A success. The data are plain: dicts, lists, times."""
    return _respond({"data": data, "meta": _meta(request)}, status, headers)


def listing(request: HTTPConnection, page: Page[Item], view: Callable[[Item], Any]) -> Response:
    """A page of a list, each item as ``view`` shows it."""
    pagination: dict[str, Any] = {"page": page.page, "per_page": page.per_page, "total": page.total}
    pagination |= {"total_capped": page.total_capped, "next_cursor": page.next_cursor}
    data = [view(item) for item in page.items]
    return _respond({"data": data, "meta": _meta(request), "pagination": pagination}, 200, None)


def failure(
    request: HTTPConnection, error: dict[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """An error."""
    return _respond({"error": error, "meta": _meta(request)}, status, headers)


def plain(data: Any) -> Any:
    """Data as JSON holds them, times as texts in the form of every answer."""
    return orjson.loads(orjson.dumps(data, option=_OPTIONS))


def _meta(request: HTTPConnection) -> dict[str, Any]:
    return {"request_id": visit_of(request).request_id, "timestamp": datetime.datetime.now(datetime.UTC)}


def _respond(body: dict[str, Any], status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(orjson.dumps(body, option=_OPTIONS), status, headers, "application/json")
