"""Whether the process lives, and whether it can serve."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, answer
from api.calls import call_within
from api.deps import StrictRoute
from api.errors import Refused, error_response, unavailable
from nexusflow.db.provision import current_revision, newest_revision
from nexusflow.db.session import DATABASE_DOWN, runtime_engine
from nexusflow.operations.broker import look_within

router = APIRouter(tags=["health"], route_class=StrictRoute)

BROKER_SECONDS = 0.5
READY_SECONDS = 3.0
KEPT_SECONDS = 1.0


class AliveView(BaseModel):
    """The process answers."""

    alive: bool


class ReadyView(BaseModel):
    """What the process can reach. Runs are accepted while the broker is away, and start when it is back."""

    ready: bool
    schema_revision: str
    broker: str


@dataclass
class _Last:
    """The last look, so that probes, however many, cost one look a second."""

    at: float = 0.0
    found: dict[str, Any] | None = None
    looking: "asyncio.Task[dict[str, Any] | None] | None" = None


_last = _Last()


@router.get("/healthz", response_model=Answer[AliveView])
async def alive(request: Request) -> Response:
    """Whether the process lives: it asks nothing of anybody."""
    return answer(request, {"alive": True})


@router.get("/readyz", response_model=Answer[ReadyView])
async def ready(request: Request) -> Response:
    """Whether requests can be served: the database answers and has the schema that is needed. 503 if not."""
    if time.monotonic() - _last.at > KEPT_SECONDS or _last.at == 0.0:
        if _last.looking is None or _last.looking.done():
            _last.looking = asyncio.create_task(_look())
        _last.found = await asyncio.shield(_last.looking)
        _last.at = time.monotonic()
    if _last.found is None:
        return error_response(request, unavailable("CLUSTER_UNUSABLE", "The database cannot be used at the moment."))
    if not _last.found["ready"]:
        revision = _last.found["schema_revision"] or "missing"
        told = f"The database's schema is {revision}, older than what this release needs."
        return error_response(request, unavailable("CLUSTER_UNUSABLE", told))
    return answer(request, _last.found)


async def _look() -> dict[str, Any] | None:
    try:
        revision = await call_within(READY_SECONDS, _revision)
    except (*DATABASE_DOWN, Refused):
        return None
    broker = await asyncio.to_thread(look_within, BROKER_SECONDS)
    # A newer schema is right, too: it is there before the processes that need it.
    is_ready = revision >= newest_revision()
    return {"ready": is_ready, "schema_revision": revision, "broker": "away" if broker.complaint else "ok"}


def _revision() -> str:
    with runtime_engine().connect() as connection:
        return current_revision(connection) or ""
