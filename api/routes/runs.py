"""Runs: start them, list them, read one, cancel, pause and resume one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, Listing, answer, listing
from api.bodies import read_model
from api.calls import call
from api.deps import Caller, StrictRoute, idempotency_key, identity
from api.errors import Refused, RequestInvalid
from api.filters import RunFilter, meant
from api.live import wait_for_end
from api.once import KEY_HEADER, answered_once, replayed
from api.paging import CursorQuery
from api.shapes import (
    AcceptedRun,
    ChangedRun,
    Nothing,
    RequestModel,
    RunLineView,
    RunView,
    StartBatch,
    StartRun,
    StepView,
)
from api.views import accepted_view, run_line_view, run_view
from nexusflow.auth.keys import Principal
from nexusflow.db.session import DATABASE_DOWN
from nexusflow.errors import InvalidInput, Problem
from nexusflow.settings import get_settings
from nexusflow.workflows.reports.listing import list_runs
from nexusflow.workflows.reports.report import read_progress, read_run
from nexusflow.workflows.starts.control import cancel_run, pause_run, resume_run
from nexusflow.workflows.starts.starting import start_runs

router = APIRouter(prefix="/v2", tags=["runs"], route_class=StrictRoute)

Sort = Literal["-accepted_at", "accepted_at", "-finished_at", "finished_at"]
CHANGES = {"cancel": cancel_run, "pause": pause_run, "resume": resume_run}
Wait = Annotated[float | None, Query(ge=0, description="Answer with the finished run (200) if it is over so soon.")]
Whole = Annotated[bool, Query(description='Also a large input or output; else `{"$large": {"bytes", "sha256"}}`.')]


def body_of(model: type[RequestModel], *, required: bool) -> dict[str, Any]:
    """A body that comes with an Idempotency-Key, as the reference describes it."""
    schema = model.model_json_schema()
    for name, inner in schema.pop("$defs", {}).items():  # a reference would lead nowhere in the whole document
        for each in schema["properties"].values():
            if each.pop("$ref", "").endswith(f"/{name}"):
                each.update(inner | {"description": each.get("description", inner.get("description"))})
    content = {"application/json": {"schema": schema}}
    return {"parameters": [KEY_HEADER], "requestBody": {"required": required, "content": content}}


class RunQuery(RunFilter, CursorQuery):
    """Which runs to list."""

    sort: Sort = "-accepted_at"


@router.post(
    "/workflows/{workflow_id}/run",
    status_code=202,
    response_model=Answer[AcceptedRun],
    responses={200: {"model": Answer[RunView], "description": "The run is over: with `wait`."}},
    openapi_extra=body_of(StartRun, required=False),
)
async def start(request: Request, caller: Caller, workflow_id: str, wait: Wait = None) -> Response:
    """Start a run. It is durable before this answers, and starts as soon as workers are there."""
    workflow_id = identity(workflow_id, "workflow")
    seconds = _seconds(wait)
    key = idempotency_key(request)
    given = await read_model(request, StartRun, optional=True)
    with pointing("/input"):
        started = await call(
            start_runs,
            caller.tenant,
            workflow_id,
            [given.input],
            version=given.version,
            idempotency_key=key,
            mock=given.mock,
        )
    (run,) = started.run_ids
    headers = {"Location": f"/v2/runs/{run}"} | replayed(started.replayed)
    if seconds and (over := await _finished(request, caller, run, seconds)) is not None:
        return answer(request, over, headers=headers)
    return answer(request, accepted_view(run, workflow_id), status=202, headers=headers)


@router.post(
    "/workflows/{workflow_id}/run:batch",
    status_code=202,
    response_model=Answer[list[AcceptedRun]],
    openapi_extra=body_of(StartBatch, required=True),
)
async def start_batch(request: Request, caller: Caller, workflow_id: str) -> Response:
    """Start up to 1,000 runs, all or none; they come back in the order of the inputs."""
    workflow_id = identity(workflow_id, "workflow")
    key = idempotency_key(request)
    given = await read_model(request, StartBatch)
    started = await call(
        start_runs,
        caller.tenant,
        workflow_id,
        given.inputs,
        version=given.version,
        idempotency_key=key,
        batch=True,
        mock=given.mock,
    )
    accepted = [accepted_view(run, workflow_id) for run in started.run_ids]
    return answer(request, accepted, status=202, headers=replayed(started.replayed))


@router.get("/runs", response_model=Listing[RunLineView])
async def list_all(request: Request, caller: Caller, query: Annotated[RunQuery, Query()]) -> Response:
    """Runs, without their input and output. `text` looks through the newest ones only."""
    given = query.model_dump() | await call(meant, caller.tenant, query, "?workflow")
    return listing(request, await call(list_runs, caller.tenant, **given), run_line_view)


@router.get("/runs/{run_id}", response_model=Answer[RunView])
async def read(request: Request, caller: Caller, run_id: str, whole: Whole = False) -> Response:
    """A run: its status, its input, and once it is over its output or its error."""
    report = await call(read_run, caller.tenant, identity(run_id), whole=whole)
    return answer(request, run_view(report.run))


@router.get("/runs/{run_id}/steps", response_model=Answer[list[StepView]])
async def read_steps(request: Request, caller: Caller, run_id: str) -> Response:
    """The steps of a run in the plan's order, each with its state, times and errors."""
    report = await call(read_progress, caller.tenant, identity(run_id))
    return answer(request, [step.as_dict() for step in report.steps])


@router.post(
    "/runs/{run_id}/cancel",
    status_code=202,
    response_model=Answer[ChangedRun],
    openapi_extra={"parameters": [KEY_HEADER]},
)
async def cancel(request: Request, caller: Caller, run_id: str) -> Response:
    """Ask a run to end: nothing new of it starts. One that is over stays as it is."""
    return await _changed(request, caller, run_id, "cancel")


@router.post(
    "/runs/{run_id}/pause",
    status_code=202,
    response_model=Answer[ChangedRun],
    openapi_extra={"parameters": [KEY_HEADER]},
)
async def pause(request: Request, caller: Caller, run_id: str) -> Response:
    """Hold a run: nothing new of it starts, what a worker is at may finish. One that is over stays as it is."""
    return await _changed(request, caller, run_id, "pause")


@router.post(
    "/runs/{run_id}/resume",
    status_code=202,
    response_model=Answer[ChangedRun],
    openapi_extra={"parameters": [KEY_HEADER]},
)
async def resume(request: Request, caller: Caller, run_id: str) -> Response:
    """Let a paused run go on where it was. One that is not paused stays as it is."""
    return await _changed(request, caller, run_id, "resume")


async def _changed(request: Request, caller: Caller, run_id: str, change: str) -> Response:
    run_id = identity(run_id)
    await read_model(request, Nothing, optional=True)

    def work(connection: Any) -> dict[str, Any]:
        return {"id": run_id, "status": CHANGES[change](caller.tenant, run_id, connection=connection)}

    return await answered_once(request, caller, [change, run_id], work, status=202)


@contextmanager
def pointing(at: str) -> Iterator[None]:
    """Let problems of a part of the body point to it from the body's root, as those of a batch do."""
    try:
        yield
    except InvalidInput as error:
        error.details = [replace(each, path=at + each.path) for each in error.details]
        raise


def _seconds(wait: float | None) -> float:
    limit = get_settings().max_wait_seconds
    if wait is not None and not wait <= limit:
        message = f"At most {limit:g} s can be waited for."
        raise RequestInvalid([Problem("?wait", None, None, "INVALID_VALUE", message, "Ask for the run again later.")])
    return wait or 0.0


async def _finished(request: Request, caller: Principal, run: str, seconds: float) -> dict[str, Any] | None:
    """The run once it is over; None where that takes too long, nobody listens any more, or the database is away."""
    waiting = asyncio.ensure_future(wait_for_end(caller.tenant, run, seconds))
    leaving = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() and waiting.result():
            return run_view((await call(read_run, caller.tenant, run, whole=True)).run)
    except (*DATABASE_DOWN, Refused):
        pass  # it is accepted all the same
    finally:
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)
    return None


async def _hung_up(request: Request) -> None:
    """Until the client has gone; its body is read by now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
