"""Signals: say that an event happened, so that a run that waits for it goes on; see what became of them."""

import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, Listing, answer, listing
from api.bodies import read_model
from api.calls import call
from api.deps import Caller, StrictRoute, idempotency_key, identity
from api.once import KEY_HEADER, replayed
from api.paging import CursorQuery
from api.shapes import RUN_ID, RequestModel
from nexusflow.workflows.language.words import EVENT_PATTERN, MAX_KEY
from nexusflow.workflows.reports.signals import list_signals, read_signal
from nexusflow.workflows.rows.signals import Signal
from nexusflow.workflows.starts.signalling import KEEP_FOR, LONGEST_KEEP, send_signal

router = APIRouter(prefix="/v2", tags=["signals"], route_class=StrictRoute)

State = Literal["kept", "delivered", "expired", "refused"]
WHAT_BECAME = "kept, delivered, expired (nobody waited in time) or refused (nobody waited, and it was not to be kept)."


class SendSignal(RequestModel):
    """An event that happened."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "payment.received", "key": "order-1041", "data": {"amount": 28.5}}]}
    )

    name: str = Field(pattern=EVENT_PATTERN, description="The event's name, as the `wait` has it.")
    key: str = Field("", max_length=MAX_KEY, description="Which event of that name, as the `wait` has it.")
    data: Any = Field(None, description="The output of the `wait` that gets it.")
    keep_for: str | None = Field(
        None, max_length=40, description=f"How long it is kept if nobody waits: {KEEP_FOR}, at most {LONGEST_KEEP}."
    )
    only_if_awaited: bool = Field(False, description="Refuse it (409) where nobody waits, instead of keeping it.")


class SentView(BaseModel):
    """What became of a signal at once."""

    id: str = Field(examples=[RUN_ID])
    state: str = Field(description="delivered or kept.")
    run_id: str | None = Field(description="The run that it was delivered to.")
    step: str | None
    item: str | None


class SignalLineView(SentView):
    """A signal in a list."""

    name: str = Field(examples=["payment.received"])
    key: str
    state: str = Field(description=WHAT_BECAME)
    received_at: datetime.datetime
    expires_at: datetime.datetime = Field(description="Until when it is kept.")
    delivered_at: datetime.datetime | None


class SignalView(SignalLineView):
    """A signal."""

    data: Any


class SignalQuery(CursorQuery):
    """Which signals to list."""

    name: str | None = Field(None, max_length=100, description="The event's name.")
    key: str | None = Field(None, max_length=MAX_KEY)
    state: State | None = None
    run: str | None = Field(None, max_length=40, description="The id of a run: the signals that it was given.")
    sort: Literal["-received_at", "received_at"] = "-received_at"


_BODY = {
    "parameters": [KEY_HEADER],
    "requestBody": {"required": True, "content": {"application/json": {"schema": SendSignal.model_json_schema()}}},
}


@router.post("/signals", status_code=202, response_model=Answer[SentView], openapi_extra=_BODY)
async def send(request: Request, caller: Caller) -> Response:
    """Say that an event happened: the run that has waited for it longest goes on, else the signal is kept."""
    key = idempotency_key(request)
    given = await read_model(request, SendSignal)
    sent = await call(
        send_signal,
        caller.tenant,
        given.name,
        key=given.key,
        data=given.data,
        keep_for=given.keep_for,
        only_if_awaited=given.only_if_awaited,
        idempotency_key=key,
    )
    headers = {"Location": f"/v2/signals/{sent.id}"} | replayed(sent.is_replayed)
    return answer(request, sent.as_dict(), status=202, headers=headers)


@router.get("/signals", response_model=Listing[SignalLineView])
async def list_all(request: Request, caller: Caller, query: Annotated[SignalQuery, Query()]) -> Response:
    """Signals without their data, and what became of them."""
    return listing(request, await call(list_signals, caller.tenant, **query.model_dump()), _line_view)


@router.get("/signals/{signal_id}", response_model=Answer[SignalView])
async def read(request: Request, caller: Caller, signal_id: str) -> Response:
    """A signal with its data, and what became of it."""
    found = await call(read_signal, caller.tenant, identity(signal_id, "signal"))
    return answer(request, dict(vars(found)))


def _line_view(signal: Signal) -> dict[str, Any]:
    shown = dict(vars(signal))
    del shown["data"]
    return shown
