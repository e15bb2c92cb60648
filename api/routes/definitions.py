"""What one asks of a definition before it is saved, and what its steps can do."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer, answer
from api.calls import call
from api.definitions import Given, described, read_definition
from api.deps import Caller, StrictRoute
from api.shapes import SOURCE, ActionView, GivenDefinition, PlanView, ValidationView
from api.views import action_view
from nexusflow.connectors.registry import actions, get_action
from nexusflow.errors import InvalidDefinition
from nexusflow.workflows.reports.drawing import DrawingFormat, draw
from nexusflow.workflows.reports.phrases import limits
from nexusflow.workflows.saved.versions import compile_source

router = APIRouter(prefix="/v2", tags=["definitions"], route_class=StrictRoute)

BODY = described({"source": SOURCE}, SOURCE, GivenDefinition)


@router.post("/workflows:validate", response_model=Answer[ValidationView], openapi_extra=BODY)
async def validate(request: Request, caller: Caller) -> Response:
    """Whether a definition could be saved: every problem at once, with its place and what to do. Saves nothing."""
    return answer(request, await call(_validation, await read_definition(request)))


def _validation(given: Given) -> dict[str, Any]:
    try:
        with given.places():
            name = compile_source(given.source).definition.name
    except InvalidDefinition as error:
        return {"valid": False, "name": None, "problems": [each.as_dict() for each in error.details]}
    return {"valid": True, "name": name, "problems": []}


@router.post("/workflows:compile", response_model=Answer[PlanView], openapi_extra=BODY)
async def compile_definition(
    request: Request,
    caller: Caller,
    format: Annotated[DrawingFormat, Query()] = "text",  # noqa: A002 - the API's word
) -> Response:
    """The plan of a definition: an outline, as stored, as a picture in Mermaid, or as Celery's canvas."""
    return answer(request, await call(_plan, await read_definition(request), format))


def _plan(given: Given, form: DrawingFormat) -> dict[str, Any]:
    with given.places():
        compiled = compile_source(given.source)
    name = compiled.definition.name
    plan = compiled.plan.to_json() if form == "json" else draw(compiled.plan, form, name, limits(compiled.definition))
    return {"name": name, "format": form, "plan": plan}


@router.get("/actions", response_model=Answer[list[ActionView]])
async def list_actions(request: Request, caller: Caller) -> Response:
    """All that a step can do, each with the schemas of its input and output."""
    return answer(request, [action_view(action) for action in actions()])


@router.get("/actions/{name}", response_model=Answer[ActionView])
async def read_action(request: Request, caller: Caller, name: str) -> Response:
    """One action."""
    return answer(request, action_view(get_action(name)))
