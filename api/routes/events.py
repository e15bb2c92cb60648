"""What happens, as it happens: server-sent events of one run and of all a tenant's runs."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.answers import Answer, answer
from api.calls import call
from api.deps import Caller, StrictRoute, identity
from api.live import stream_run, stream_tenant, watching_run, watching_tenant
from nexusflow.workflows.reports.live import START, events_after, parse_position

router = APIRouter(prefix="/v2", tags=["events"], route_class=StrictRoute)

STREAM_SECONDS = 300.0
"""A stream lasts no longer, so that its reader comes back with a key that is still good, maybe to another server."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

After = Annotated[
    str, Query(max_length=60, description="Only events behind this place: the `id:` of an event, or `next`.")
]
Shape = Annotated[Literal["", "sse", "json"], Query(alias="format", description="`json`: one page, not a stream.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="The most events of a JSON page.")]


class EventView(BaseModel):
    """One line of a run's log."""

    id: str = Field(description="Its own: the same where it is sent again.")
    at: datetime.datetime
    type: str = Field(examples=["run.accepted", "step.succeeded"])
    step: str | None
    item: str | None = Field(description="Its place in the foreaches around, as in `3` or `3.0`.")
    data: dict[str, Any]


class EventsView(BaseModel):
    """A page of a run's events."""

    events: list[EventView]
    next: str = Field(description="Give it as `after` for the events behind these.")
    status: str = Field(description="The run's status; nothing follows once it is over and a page is empty.")


STREAM = {"description": "A stream of events, or (`application/json`) a page.", "content": {"text/event-stream": {}}}


class EventStream(StreamingResponse):
    """A stream of events; whatever becomes of its reader, what it held is given back."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], held: ExitStack) -> None:
        super().__init__(frames, headers=HEADERS)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, the reader's or the stream's time."""
        try:
            with self._held:
                async with asyncio.timeout(STREAM_SECONDS):
                    await super().__call__(scope, receive, send)
        except TimeoutError:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    "/runs/{run_id}/events",
    summary="Follow a run, or read its events",
    response_model=Answer[EventsView],
    responses={200: STREAM},
)
async def run_events(
    request: Request, who: Caller, run_id: str, after: After = "", shape: Shape = "", limit: Limit = 1000
) -> Response:
    """Server-sent events: one per line of the run's log, then `event: end` when the run is over.

    Each carries `id:`, the place behind it. A reader that comes back with `Last-Event-ID` (or `?after=`) misses
    nothing; a few of the latest events may come again, under the same `id` in their data. A stream ends after five
    minutes without `event: end`: come back. With `Accept: application/json` (or `?format=json`) the answer is a page.
    """
    run = identity(run_id)
    place = request.headers.get("last-event-id", "") or after
    position = parse_position(place) if place else START
    if shape == "json" or (not shape and _prefers_json(request)):
        news = await call(events_after, who.tenant, run, position, limit)
        shown = [event.as_dict() for event in news.events]
        return answer(request, {"events": shown, "next": str(news.position), "status": news.status})
    with ExitStack() as stack:
        feed = stack.enter_context(watching_run(who.tenant, run))
        await feed.open()
        return EventStream(stream_run(feed, who.tenant, run, position), stack.pop_all())


@router.get(
    "/events",
    summary="Follow all runs",
    response_class=StreamingResponse,
    responses={200: {"description": "A stream of events.", "content": {"text/event-stream": {}}}},
)
async def all_events(who: Caller) -> Response:
    """Server-sent events: `event: runs` with the newest runs, then `event: run` for each one that changes.

    They tell states, not steps on the way: whoever comes back begins with `event: runs` again and is up to date.
    """
    with ExitStack() as stack:
        feed = stack.enter_context(watching_tenant(who.tenant))
        await feed.open()
        return EventStream(stream_tenant(feed), stack.pop_all())


def _prefers_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/event-stream" not in accepted
