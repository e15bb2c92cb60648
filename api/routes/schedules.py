"""The schedules of a workflow: when they tick next, and what their last ticks did."""

import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, answer
from api.calls import call
from api.deps import Caller, StrictRoute, identity
from nexusflow.workflows.saved.saved import read_workflow
from nexusflow.workflows.saved.schedules import list_schedules

router = APIRouter(prefix="/v2", tags=["workflows"], route_class=StrictRoute)


class TickView(BaseModel):
    """A time at which a schedule was due, and what came of it."""

    at: datetime.datetime
    state: Literal["due", "started", "skipped", "failed"]
    run_id: str | None
    run_status: str | None
    error: dict[str, Any] | None = Field(description="Why it was skipped or failed: `code`, `message`, `hint`.")


class ScheduleView(BaseModel):
    """A schedule of a published workflow: either `cron` (in `timezone`) or `interval` (seconds) says when."""

    id: str
    workflow_id: str
    workflow: str
    name: str | None = Field(description="The trigger's `id`, where it has one.")
    cron: str | None
    interval: float | None
    timezone: str
    misfire: Literal["skip", "last", "all"]
    misfire_limit: int
    next_at: datetime.datetime | None
    next_times: list[datetime.datetime] = Field(description="The next five; none where it stands still.")
    ticks: list[TickView] = Field(description="The last five, newest first.")


@router.get("/workflows/{workflow_id}/schedules", response_model=Answer[list[ScheduleView]])
async def schedules(request: Request, who: Caller, workflow_id: str) -> Response:
    """Each with its next five times and its last ticks and their runs; none while no version is published."""
    wanted = identity(workflow_id, "workflow")
    await call(read_workflow, who.tenant, wanted)
    found = await call(list_schedules, who.tenant, wanted)
    return answer(request, [each.as_dict() for each in found])
