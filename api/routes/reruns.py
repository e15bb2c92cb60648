"""Runs that are over, repeated; and what is done to many runs at once: repeat them, cancel them."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, answer, plain
from api.bodies import read_model
from api.calls import call, call_within
from api.deps import Caller, StrictRoute, idempotency_key, identity
from api.errors import RequestInvalid
from api.filters import RunFilter, meant
from api.once import replayed
from api.routes.runs import body_of, pointing
from api.shapes import ManyRunsView, RequestModel, RerunRun, RerunView
from api.views import rerun_view
from nexusflow.errors import Problem
from nexusflow.workflows.reports.listing import matching_runs
from nexusflow.workflows.starts.bulk import FAILED_RUNS, LIVE_RUNS, MAX_RUNS, cancel_each, rerun_each
from nexusflow.workflows.starts.idempotency import answer_of_many, fingerprint
from nexusflow.workflows.starts.rerun_preview import preview
from nexusflow.workflows.starts.rerunning import Asked, rerun

router = APIRouter(prefix="/v2", tags=["runs"], route_class=StrictRoute)

MANY_SECONDS = 240.0
"""How long a thousand runs may take: less than proxies allow."""
DryRun = Annotated[bool, Query(description="Only say what would be done (200).")]


class _ManyRuns(RequestModel):
    filter: RunFilter = Field(description="As `GET /v2/runs` takes it; one word at least.")
    limit: int = Field(100, ge=1, le=MAX_RUNS, description="At most so many, the oldest first.")
    dry_run: bool = Field(False, description="Only say which runs, and what would be done.")


class RerunRuns(_ManyRuns, RerunRun):
    """Which runs to repeat, and how. Without `status`, those that failed or timed out."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filter": {"workflow": "price", "since": "2026-01-31T00:00:00Z"}}]}
    )


class CancelRuns(_ManyRuns):
    """Which runs to cancel. Without `status`, all that are not over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"filter": {"workflow": "price"}, "dry_run": True}]})


@router.post(
    "/runs/{run_id}/rerun",
    status_code=202,
    response_model=Answer[RerunView],
    responses={200: {"model": Answer[dict[str, Any]], "description": "What would be done: with `dry_run`."}},
    openapi_extra=body_of(RerunRun, required=False),
)
async def rerun_one(request: Request, caller: Caller, run_id: str, dry_run: DryRun = False) -> Response:
    """Repeat a run that is over: from what failed in it, from its start, or from a step on."""
    run = identity(run_id)
    key = idempotency_key(request)
    asked = _asked(await read_model(request, RerunRun, optional=True))
    with pointing("/input" if asked.input is not None else ""):
        if dry_run:
            return answer(request, plain((await call(preview, caller.tenant, run, asked)).as_dict()))
        made = await call_within(MANY_SECONDS, partial(rerun, caller.tenant, run, asked, idempotency_key=key))
    headers = {"Location": f"/v2/runs/{made.id}"} | replayed(made.replayed)
    return answer(request, rerun_view(made), status=202, headers=headers)


@router.post("/runs:rerun", response_model=Answer[ManyRunsView], openapi_extra=body_of(RerunRuns, required=True))
async def rerun_many(request: Request, caller: Caller) -> Response:
    """Repeat up to 1,000 runs, each by itself: what is refused for one holds up no other.

    A run that another one repeats already is left out.
    """
    key = idempotency_key(request)
    given = await read_model(request, RerunRuns)
    if given.input is not None:
        message = "Another input is given to one run at a time."
        raise RequestInvalid([Problem("/input", None, None, "UNKNOWN_FIELD", message, "POST /v2/runs/{id}/rerun.")])
    filters = await _filters(caller.tenant, given, FAILED_RUNS)

    def work() -> dict[str, Any]:
        runs = [each.id for each in matching_runs(caller.tenant, given.limit, **filters)]
        done = rerun_each(caller.tenant, runs, _asked(given), dry_run=given.dry_run, idempotency_key=key)
        return _told(done, given.dry_run)

    return await _many(request, caller.tenant, "rerun", given, work)


@router.post("/runs:cancel", response_model=Answer[ManyRunsView], openapi_extra=body_of(CancelRuns, required=True))
async def cancel_many(request: Request, caller: Caller) -> Response:
    """Ask up to 1,000 runs to end: nothing new of them starts. One that is over stays as it is."""
    given = await read_model(request, CancelRuns)
    filters = await _filters(caller.tenant, given, LIVE_RUNS)

    def work() -> dict[str, Any]:
        runs = [each.id for each in matching_runs(caller.tenant, given.limit, **filters)]
        return _told(cancel_each(caller.tenant, runs, dry_run=given.dry_run), given.dry_run)

    return await _many(request, caller.tenant, "cancel", given, work)


async def _many(request: Request, tenant: str, operation: str, given: _ManyRuns, work: Any) -> Response:
    key = idempotency_key(request)
    mark = fingerprint(f"{operation}-many", plain(given.model_dump(by_alias=True))) if key is not None else ""
    data, again = await call_within(MANY_SECONDS, partial(answer_of_many, tenant, key, mark, work))
    return answer(request, data, headers=replayed(again))


async def _filters(tenant: str, given: _ManyRuns, otherwise: frozenset[str]) -> dict[str, Any]:
    if not given.filter.model_dump(exclude_none=True):
        message = "The filter is empty: all runs would be meant."
        hint = 'Give one word at least, such as {"workflow": "NAME"} or {"since": "…"}.'
        raise RequestInvalid([Problem("/filter", None, None, "INVALID_VALUE", message, hint)])
    found = await call(meant, tenant, given.filter, "/filter/workflow")
    return found | ({"status": set(otherwise)} if given.filter.status is None else {})


def _asked(given: RerunRun) -> Asked:
    return Asked(given.from_, given.version, given.input)


def _told(answered: dict[str, Any], dry_run: bool) -> dict[str, Any]:
    runs = [{"id": None, "status": None, "preview": None} | each for each in answered["runs"]]
    return {"dry_run": dry_run, "matched": len(runs), "effects": []} | answered | {"runs": runs}
