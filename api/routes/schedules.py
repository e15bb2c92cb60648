"""The schedules of a workflow: when they tick next, and what their last ticks did."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.answers import answer
from api.calls import call
from api.deps import Caller, StrictRoute, identity
from nexusflow.workflows.saved import read_workflow
from nexusflow.workflows.schedules import list_schedules

router = APIRouter(prefix="/v2", tags=["workflows"], route_class=StrictRoute)


@router.get("/workflows/{workflow_id}/schedules", summary="The schedules of a workflow")
async def schedules(request: Request, who: Caller, workflow_id: str) -> Response:
    """Each with its next five times and its last ticks and their runs; none while no version is published."""
    wanted = identity(workflow_id, "workflow")
    await call(read_workflow, who.tenant, wanted)
    found = await call(list_schedules, who.tenant, wanted)
    return answer(request, [each.as_dict() for each in found])
