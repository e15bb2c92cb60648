"""A run written as a test file, so that a bug becomes a test."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, answer
from api.calls import call
from api.deps import Caller, StrictRoute, identity
from nexusflow.workflows.reports.run_export import export_test

router = APIRouter(prefix="/v2", tags=["runs"], route_class=StrictRoute)


class RunTestView(BaseModel):
    """A test file of one case: the run."""

    run_id: str
    source: str = Field(description="The test file's text, in YAML; what is sensitive is masked.")
    notes: list[str] = Field(description="What in it is not as it was in the run.")


@router.get(
    "/runs/{run_id}/test",
    summary="The run as a test file for `nexusflow test`",
    response_model=Answer[RunTestView],
)
async def export(
    request: Request,
    caller: Caller,
    run_id: str,
    workflow: Annotated[
        str,
        Query(max_length=1_000, description="The path of the workflow's file; else the definition is written into it."),
    ] = "",
) -> Response:
    """Only of a run that is over. The case is rehearsed before it is written, so that it passes as it is."""
    found = await call(export_test, caller.tenant, identity(run_id), workflow=workflow)
    return answer(request, {"run_id": found.run, "source": found.source, "notes": list(found.notes)})
