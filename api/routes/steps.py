"""One step of a run in detail: its output, its error, its attempts, and the items of a foreach."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import answer, listing
from api.calls import call
from api.deps import Caller, StrictRoute, identity
from nexusflow.workflows.paging import MAX_PER_PAGE
from nexusflow.workflows.step_details import ItemLine, StepDetails, read_items, read_step

router = APIRouter(prefix="/v2", tags=["runs"], route_class=StrictRoute)

Item = Annotated[str, Query(max_length=80, description="The place in the foreaches around: `3`, or `3.0`.")]
State = Literal["", "running", "retrying", "succeeded", "failed", "skipped", "blocked", "cancelled", "timed_out"]


@router.get("/runs/{run_id}/steps/{path:path}/items", summary="What a step did for each item of a foreach")
async def step_items(
    request: Request,
    who: Caller,
    run_id: str,
    path: str,
    item: Item = "",
    state: State = "",
    page: Annotated[int, Query(ge=1)] = 1,
    per_page: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = 20,
) -> Response:
    """The items in their order; `item`: only those inside this item of the foreach around."""
    found = await call(
        read_items, who.tenant, identity(run_id), path, within=item, state=state, page=page, per_page=per_page
    )
    return listing(request, found, line_of)


@router.get("/runs/{run_id}/steps/{path:path}", summary="One step of a run, or one item's")
async def step(request: Request, who: Caller, run_id: str, path: str, item: Item = "", whole: bool = False) -> Response:
    """The step's output, error, attempts and times, and its words in the definition.

    `path` is that of the list of steps (`each/score`). A large output is told by its size; `whole=true` gives it.
    """
    found = await call(read_step, who.tenant, identity(run_id), path, item, whole=whole)
    return answer(request, details_of(found))


def details_of(step: StepDetails) -> dict[str, Any]:
    """A step as JSON data."""
    return asdict(step) | {"seconds": step.seconds}


def line_of(line: ItemLine) -> dict[str, Any]:
    """An item's record as JSON data."""
    return asdict(line) | {"seconds": line.seconds}
