"""The API's reference: OpenAPI at ``/openapi.json``, and a page of our own over it at ``/docs``, without a network."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.deps import StrictRoute
from api.errors import CODES, ErrorAnswer

router = APIRouter(include_in_schema=False, route_class=StrictRoute)

ASSETS = Path(__file__).parent / "assets"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
OPEN = ("/healthz", "/readyz", "/metrics")
"""What needs no key."""
HOW = """Every answer has `data` or `error`, and `meta` with the request's id; lists have `pagination`.

An API key names the tenant: `Authorization: Bearer nxf_…` or `X-API-Key: nxf_…`; `nexusflow keys create` makes one.

`POST` takes an `Idempotency-Key`: the same key and request give the same answer (`Idempotency-Replayed: true`).
Answers carry `X-Request-Id` (yours, if you send one) and `RateLimit-Limit`, `-Remaining` and `-Reset`; 429 and 503
carry `Retry-After`."""

_kept = {path.name: path.read_bytes() for path in sorted(ASSETS.iterdir()) if path.suffix in KINDS}


@router.get("/docs")
async def page() -> Response:
    """The reference for people."""
    return _asset("reference.html")


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """The page's script and style."""
    return _asset(name)


def _asset(name: str) -> Response:
    if name not in _kept:
        raise HTTPException(404)
    kind = KINDS[Path(name).suffix]
    return Response(_kept[name], media_type=kind, headers={"Cache-Control": "no-cache"})


def describe(app: FastAPI) -> None:
    """Let the application describe itself as it is: keys, one form of error, and nothing the framework only assumes."""
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_document(app))
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    rows = "\n".join(f"| `{code}` | {status} | {told} |" for code, (status, told) in CODES.items())
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=f"{HOW}\n\n| code | status | |\n|---|---|---|\n{rows}",
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    model = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= model.pop("$defs")
    schemas["ErrorAnswer"] = model
    document["components"]["responses"] = {
        "Error": {
            "description": "What is wrong, and what to do about it.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
        }
    }
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: nxf_…"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{"bearer": []}, {"header": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"$ref": "#/components/responses/Error"}
            if path in OPEN:
                operation["security"] = []
    return document
