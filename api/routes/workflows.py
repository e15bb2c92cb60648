"""Saved workflows: each save is an immutable version; one of them may be published."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, Listing, answer, listing
from api.bodies import read_model
from api.calls import call
from api.definitions import described, read_definition
from api.deps import Caller, StrictRoute, identity
from api.errors import RequestInvalid
from api.once import KEY_HEADER, answered_once
from api.paging import CursorQuery, PageQuery
from api.shapes import (
    MAX_NUMBER,
    SOURCE,
    DiffView,
    Nothing,
    PublishWorkflow,
    SaveWorkflow,
    VersionView,
    WorkflowDetailView,
    WorkflowView,
)
from api.views import diff_view, version_view, workflow_detail_view, workflow_view
from nexusflow.errors import NotFound, Problem
from nexusflow.workflows.saved import library

router = APIRouter(prefix="/v2/workflows", tags=["workflows"], route_class=StrictRoute)

Status = Literal["draft", "published", "archived"]
Sort = Literal["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"]
Publish = Annotated[bool, Query(description="For a YAML body: also publish it.")]
Number = Annotated[int, Query(ge=1, le=MAX_NUMBER)]
SAVE = described({"source": SOURCE, "publish": True}, SOURCE, SaveWorkflow)
CREATE = SAVE | {"parameters": [KEY_HEADER]}
MATCH_HEADER = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string"},
    "example": '"3"',
    "description": "The ETag of the version that was changed: 412 if it is no longer the newest.",
}


class WorkflowQuery(CursorQuery):
    """Which workflows to list."""

    status: Status | None = None
    text: str | None = Field(None, max_length=200, description="In the name or the description.")
    sort: Sort = "name"


@router.post("", status_code=201, response_model=Answer[WorkflowView], openapi_extra=CREATE)
async def create(request: Request, caller: Caller, publish: Publish = False) -> Response:
    """Save a new workflow, under the name in its definition."""
    given = await read_definition(request, publish=publish)

    def work(connection: Any) -> dict[str, Any]:
        made = library.create_workflow(caller.tenant, given.source, publish=given.publish, connection=connection)
        return workflow_view(made)

    asked = ["create", given.source.decode(errors="replace"), given.publish]
    with given.places():
        return await answered_once(
            request,
            caller,
            asked,
            work,
            status=201,
            headers=lambda made: {"Location": f"/v2/workflows/{made['id']}", "ETag": _tag(made["latest_version"])},
        )


@router.get("", response_model=Listing[WorkflowView])
async def list_all(request: Request, caller: Caller, query: Annotated[WorkflowQuery, Query()]) -> Response:
    """The workflows, without their definitions."""
    return listing(request, await call(library.list_workflows, caller.tenant, **query.model_dump()), workflow_view)


@router.get("/{workflow_id}", response_model=Answer[WorkflowDetailView])
async def read(
    request: Request, caller: Caller, workflow_id: str, version: Annotated[Number | None, Query()] = None
) -> Response:
    """A workflow with this version's definition; default: the published one's, else the newest one's."""
    workflow_id = identity(workflow_id, "workflow")
    detail = await call(library.read_workflow, caller.tenant, workflow_id, version)
    return answer(request, workflow_detail_view(detail), headers={"ETag": _tag(detail.version.number)})


@router.put("/{workflow_id}", response_model=Answer[WorkflowView], openapi_extra=SAVE | {"parameters": [MATCH_HEADER]})
async def update(request: Request, caller: Caller, workflow_id: str, publish: Publish = False) -> Response:
    """Save a version. The newest version's text again changes nothing; another name renames the workflow."""
    workflow_id = identity(workflow_id, "workflow")
    expected = _expected(request)
    given = await read_definition(request, publish=publish)
    with given.places():
        changed = await call(
            library.update_workflow,
            caller.tenant,
            workflow_id,
            given.source,
            publish=given.publish,
            expected_version=expected,
        )
    return answer(request, workflow_view(changed), headers={"ETag": _tag(changed.latest_version)})


@router.delete("/{workflow_id}", status_code=204, response_class=Response)
async def delete(request: Request, caller: Caller, workflow_id: str) -> Response:
    """Remove a workflow: its name is free again; its runs go on and stay readable."""
    await call(library.delete_workflow, caller.tenant, identity(workflow_id, "workflow"))
    return Response(status_code=204)


@router.post(
    "/{workflow_id}/publish",
    response_model=Answer[WorkflowView],
    openapi_extra={
        "parameters": [KEY_HEADER],
        "requestBody": {"content": {"application/json": {"schema": PublishWorkflow.model_json_schema()}}},
    },
)
async def publish_version(request: Request, caller: Caller, workflow_id: str) -> Response:
    """Make a version the one that runs, and its triggers live. Also brings back an archived workflow."""
    workflow_id = identity(workflow_id, "workflow")
    wanted = await read_model(request, PublishWorkflow, optional=True)

    def work(connection: Any) -> dict[str, Any]:
        changed = library.publish_workflow(caller.tenant, workflow_id, wanted.version, connection=connection)
        return workflow_view(changed)

    return await answered_once(request, caller, ["publish", workflow_id, wanted.version], work)


@router.post("/{workflow_id}/archive", response_model=Answer[WorkflowView], openapi_extra={"parameters": [KEY_HEADER]})
async def archive(request: Request, caller: Caller, workflow_id: str) -> Response:
    """Let nothing start it any more, by hand or by a trigger; what runs goes on."""
    workflow_id = identity(workflow_id, "workflow")
    await read_model(request, Nothing, optional=True)

    def work(connection: Any) -> dict[str, Any]:
        return workflow_view(library.archive_workflow(caller.tenant, workflow_id, connection=connection))

    return await answered_once(request, caller, ["archive", workflow_id], work)


@router.get("/{workflow_id}/versions", response_model=Listing[VersionView])
async def versions(
    request: Request, caller: Caller, workflow_id: str, query: Annotated[PageQuery, Query()]
) -> Response:
    """The versions, newest first."""
    workflow_id = identity(workflow_id, "workflow")
    page = await call(library.list_versions, caller.tenant, workflow_id, query.page, query.per_page)
    return listing(request, page, version_view)


@router.get("/{workflow_id}/versions/{number}", response_model=Answer[WorkflowDetailView])
async def read_version(request: Request, caller: Caller, workflow_id: str, number: str) -> Response:
    """One version, with its definition."""
    workflow_id = identity(workflow_id, "workflow")
    if not number.isascii() or not number.isdigit() or not 1 <= int(number[:12]) <= MAX_NUMBER:
        raise NotFound(f"The workflow has no version {number[:40]}.")
    detail = await call(library.read_workflow, caller.tenant, workflow_id, int(number))
    return answer(request, workflow_detail_view(detail), headers={"ETag": _tag(detail.version.number)})


@router.get("/{workflow_id}/diff", response_model=Answer[DiffView])
async def diff(
    request: Request,
    caller: Caller,
    workflow_id: str,
    from_: Annotated[int, Query(alias="from", ge=1, le=MAX_NUMBER)],
    to: Annotated[int, Query(ge=1, le=MAX_NUMBER)],
) -> Response:
    """What changed from one version to another: in the text, and step by step."""
    workflow_id = identity(workflow_id, "workflow")
    found = await call(library.diff_versions, caller.tenant, workflow_id, from_, to)
    return answer(request, diff_view(found))


def _tag(version: int) -> str:
    return f'"{version}"'


def _expected(request: Request) -> int | None:
    """The version in If-Match, if there is one. Raises RequestInvalid."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    number = given.strip().removeprefix('"').removesuffix('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        hint = 'Send the ETag of the version you changed, such as "3".'
        raise RequestInvalid([Problem("If-Match", None, None, "INVALID_VALUE", "No version is named so.", hint)])
    return int(number)
