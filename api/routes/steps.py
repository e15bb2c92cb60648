"""One step of a run in detail: its input, its output, its error, its attempts, and the items of a loop."""

import datetime
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, Listing, answer, listing
from api.calls import call
from api.deps import Caller, StrictRoute, identity
from nexusflow.workflows.reports.step_details import ItemLine, StepDetails, read_items, read_step
from nexusflow.workflows.rows.paging import MAX_PER_PAGE

router = APIRouter(prefix="/v2", tags=["runs"], route_class=StrictRoute)


class ItemView(BaseModel):
    """What a step did for one item, in short."""

    item: str = Field(examples=["3"])
    state: str
    attempts: int
    error: dict[str, Any] | None
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float | None


class StepDetailsView(BaseModel):
    """A step of a run, or one item's; what is sensitive is masked."""

    path: str = Field(examples=["each/score"])
    type: str
    item: str = Field(description="Its place in the loops around, as in `3` or `3.0`; empty outside of any.")
    state: str | None = Field(description="Null while there is no record.")
    attempts: int
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float | None
    input: Any = Field(description="What its expressions gave, evaluated again from the records.")
    input_note: str = Field(description="Why there is no input to show.")
    output: Any = Field(description='A large one as `{"$large": {"bytes", "sha256"}}`, unless `whole=true`.')
    error: dict[str, Any] | None
    written: dict[str, Any] = Field(description="The definition's words, expressions as they are.")
    needs: list[str]
    reads: list[str] = Field(description="The steps whose outputs its expressions read.")
    item_name: str | None
    item_value: Any = Field(description="The foreach's item, or the until's iteration, where it lies in one.")
    caught_name: str | None = Field(description="Inside a catch: the variable that holds the error.")
    caught: dict[str, Any] | None = Field(description="Inside a catch: the error.")
    idempotency_key: str
    kept_from: str | None = Field(description="The run that did it, where this one has kept it.")
    has_items: bool = Field(description="Whether `/items` lists something.")
    item_of: str | None = Field(description="The type of the loop that `item` is of: foreach or until.")
    items_of: str | None = Field(description="The type of the loop whose items or iterations `/items` lists.")


Item = Annotated[str, Query(max_length=80, description="The place in the loops around: `3`, or `3.0`.")]
State = Literal[
    "", "running", "retrying", "waiting", "succeeded", "failed", "skipped", "blocked", "cancelled", "timed_out"
]


@router.get(
    "/runs/{run_id}/steps/{path:path}/items",
    summary="What a step did for each item or iteration of a loop",
    response_model=Listing[ItemView],
)
async def step_items(
    request: Request,
    who: Caller,
    run_id: str,
    path: str,
    item: Item = "",
    state: State = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = 20,
) -> Response:
    """The items in their order; `item`: only those inside this item of the loop around."""
    found = await call(
        read_items, who.tenant, identity(run_id), path, within=item, state=state, page=page, per_page=per_page
    )
    return listing(request, found, line_of)


@router.get(
    "/runs/{run_id}/steps/{path:path}",
    summary="One step of a run, or one item's",
    response_model=Answer[StepDetailsView],
)
async def step(request: Request, who: Caller, run_id: str, path: str, item: Item = "", whole: bool = False) -> Response:
    """The step's input, output, error, attempts and times, and its words in the definition.

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
