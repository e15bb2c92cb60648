"""Workflows on the page: the list, a form to start one, and a box to write one."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import uuid_utils
from fastapi import APIRouter, Form, Query
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api.calls import call, call_within
from api.dashboard.forms import Field, answered, every_field, filled, form_of
from api.dashboard.pages import PageRoute, redirect, render, signed_in
from api.deps import identity
from nexusflow.errors import InvalidDefinition, InvalidInput, NexusError, Problem
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.reports.listing import list_runs
from nexusflow.workflows.rows.files import keep_file
from nexusflow.workflows.saved.library import (
    WorkflowDetail,
    create_workflow,
    list_workflows,
    publish_workflow,
    read_workflow,
    update_workflow,
)
from nexusflow.workflows.saved.versions import read_definition
from nexusflow.workflows.starts.starting import start_runs

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PER_PAGE = 25
STORE_SECONDS = 120.0
MAX_PART = 8_388_608
MAX_FIELDS = 2_000
KEY = "request_key"
EXAMPLE = """\
nexusflow: "1"
name: hello
description: Greets whoever is named.

input:
  schema:
    type: object
    required: [who]
    properties:
      who: { type: string, default: world, description: Whom to greet. }

steps:
  - id: greet
    type: transform
    with: { jq: '"Hello, " + .input.who + "!"' }

output:
  greeting: ${{ steps.greet.output }}
"""


@router.get("/workflows")
async def workflows_page(
    request: Request,
    text: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """The workflows by name."""
    who = await signed_in(request)
    found = await call(list_workflows, who.tenant, text=text.strip() or None, page=page, per_page=PER_PAGE)
    return render("workflows.html", tenant=who.tenant_name, workflows=found, text=text)


@dataclass
class Draft:
    """What stands in the box. ``workflow``: the one it is a version of, "" for a new one; ``version``: its newest."""

    source: str
    workflow: str = ""
    version: int = 0
    problems: list[Problem] = field(default_factory=list)
    told: str = ""
    error: NexusError | None = None


@router.get("/workflows/new")
async def new_page(request: Request) -> Response:
    """A box for a new workflow."""
    who = await signed_in(request)
    return render("editor.html", tenant=who.tenant_name, draft=Draft(EXAMPLE))


@router.get("/workflows/{workflow_id}/edit")
async def edit_page(request: Request, workflow_id: str) -> Response:
    """A box with a workflow's newest version."""
    who = await signed_in(request)
    workflow = identity(workflow_id, "workflow")
    summary = (await call(read_workflow, who.tenant, workflow)).workflow
    detail = await call(read_workflow, who.tenant, workflow, summary.latest_version)
    draft = Draft(detail.source, workflow, summary.latest_version)
    return render("editor.html", tenant=who.tenant_name, draft=draft)


@router.post("/workflows/check")
async def check(request: Request, source: Annotated[str, Form()] = "") -> Response:
    """What is wrong with a definition, as a part of the page."""
    await signed_in(request)
    return render("problems_part.html", draft=await _checked(Draft(_text(source))))


@router.post("/workflows/save")
async def save(
    request: Request,
    source: Annotated[str, Form()] = "",
    workflow: Annotated[str, Form()] = "",
    version: Annotated[int, Form(ge=0)] = 0,
    then: Annotated[str, Form()] = "save",
) -> Response:
    """Save what is in the box (``then``: check, save or publish), and go on to its form."""
    who = await signed_in(request)
    draft = await _checked(Draft(_text(source), workflow, version))
    if then == "check" or draft.problems:
        status = 422 if draft.problems else 200
        return render("editor.html", status=status, tenant=who.tenant_name, draft=draft)
    text, publish = draft.source.encode(), then == "publish"
    try:
        if workflow:
            kept = await call(
                update_workflow,
                who.tenant,
                identity(workflow, "workflow"),
                text,
                publish=publish,
                expected_version=version or None,
            )
        else:
            kept = await call(create_workflow, who.tenant, text, publish=publish)
    except NexusError as error:
        if error.status >= 500:
            raise
        draft.error = error
        return render("editor.html", status=error.status, tenant=who.tenant_name, draft=draft)
    return redirect(f"/workflows/{kept.id}")


@router.get("/workflows/{workflow_id}")
async def workflow_page(request: Request, workflow_id: str) -> Response:
    """A workflow: its form, its latest runs, its text."""
    who = await signed_in(request)
    detail = await call(read_workflow, who.tenant, identity(workflow_id, "workflow"))
    return await _form_page(who.tenant, who.tenant_name, detail, _form(detail))


@router.post("/workflows/{workflow_id}/publish")
async def publish(request: Request, workflow_id: str) -> Response:
    """Make the newest version the one that runs."""
    who = await signed_in(request)
    await call(publish_workflow, who.tenant, identity(workflow_id, "workflow"))
    return redirect(f"/workflows/{workflow_id}")


@router.post("/workflows/{workflow_id}/start")
async def start(request: Request, workflow_id: str) -> Response:
    """Start a run with what is in the form, and go to it; sent twice, it is one run."""
    who = await signed_in(request)
    workflow = identity(workflow_id, "workflow")
    detail = await call(read_workflow, who.tenant, workflow)
    form = _form(detail)
    async with request.form(max_files=100, max_fields=MAX_FIELDS, max_part_size=MAX_PART) as sent:
        given = {name: value for name, value in sent.items() if isinstance(value, str)}
        try:
            uploads = await _keep(who.tenant, form, sent)
            meant = filled(form, given, uploads)
            if meant.problems:
                raise InvalidInput("The form cannot be understood.", details=meant.problems)
            key = f"page-{given[KEY]}" if given.get(KEY) else None
            started = await call(
                start_runs,
                who.tenant,
                workflow,
                [meant.value],
                version=detail.version.number,
                trigger="page",
                idempotency_key=key,
            )
        except NexusError as error:
            if error.status >= 500:
                raise
            form, others = answered(form, given, error.details)
            return await _form_page(who.tenant, who.tenant_name, detail, form, error=error, others=others)
    return redirect(f"/runs/{started.run_ids[0]}")


def _form(detail: WorkflowDetail) -> Field:
    """The form of a workflow's input; its fields in the order of the author's text, which the kept JSON has lost."""
    with contextlib.suppress(InvalidDefinition, AttributeError):
        written = load(detail.source).data.get("input", {}).get("schema")
        if written == detail.input_schema:
            return form_of(written)
    return form_of(detail.input_schema)


async def _keep(tenant: str, form: Field, sent: FormData) -> Mapping[str, Any]:
    """Store the files that were given, and what stands for them in the input."""
    kept = {}
    for each in every_field(form):
        part = sent.get(f"{each.name}#file")
        if each.kind == "upload" and isinstance(part, UploadFile) and part.filename:
            name = part.filename.replace("\\", "/").rpartition("/")[2]
            file, content = name, part.file

            def store(name: str = file, content: Any = content) -> Any:
                return keep_file(tenant, name, content).model_dump(by_alias=True)

            kept[each.name] = await call_within(STORE_SECONDS, store)
    return kept


async def _form_page(
    tenant: str,
    tenant_name: str,
    detail: WorkflowDetail,
    form: Field,
    *,
    error: NexusError | None = None,
    others: list[Problem] | None = None,
) -> Response:
    runs = await call(list_runs, tenant, workflow=detail.workflow.id, per_page=5)
    return render(
        "workflow.html",
        status=error.status if error else 200,
        tenant=tenant_name,
        detail=detail,
        form=form,
        key=str(uuid_utils.uuid4()),
        runs=runs,
        error=error,
        others=others or [],
    )


async def _checked(draft: Draft) -> Draft:
    try:
        await call(read_definition, draft.source.encode())
        draft.told = "No problems."
    except InvalidDefinition as invalid:
        draft.problems = invalid.details
    return draft


def _text(source: str) -> str:
    """Browsers send lines with two ends."""
    return source.replace("\r\n", "\n")
