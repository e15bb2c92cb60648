"""Files as input: uploaded first, given by reference."""

import hashlib
import tempfile
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query
from python_multipart.exceptions import FormParserError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Answer
from api.bodies import chunks_of
from api.calls import call
from api.deps import Caller, StrictRoute
from api.errors import Refused, RequestInvalid
from api.once import KEY_HEADER, answered_once
from api.shapes import FileView
from nexusflow.errors import Problem
from nexusflow.settings import get_settings
from nexusflow.workflows.rows.files import keep_file

router = APIRouter(prefix="/v2", tags=["files"], route_class=StrictRoute)

IN_MEMORY = 1_048_576
FRAME = 65_536
"""What a form's own lines may add to its file."""
STORE_SECONDS = 120.0
_FORM = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
_BODY = {
    "parameters": [KEY_HEADER],
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {"schema": _FORM},
        },
    },
}


@router.post("/files", status_code=201, response_model=Answer[FileView], openapi_extra=_BODY)
async def upload(
    request: Request,
    caller: Caller,
    name: Annotated[
        str | None, Query(max_length=255, description="The file's name; a form's part has its own.")
    ] = None,
) -> Response:
    """Keep a file. The answer's `data` is the value to give as an input of a run."""
    limit = get_settings().max_file_bytes
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await _keep_form(request, caller, name, limit)
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
        async for chunk in chunks_of(request, limit):
            content.write(chunk)
        return await _keep(request, caller, name or "file", content)


async def _keep_form(request: Request, caller: Caller, name: str | None, limit: int) -> Response:
    try:
        parser = MultiPartParser(request.headers, chunks_of(request, limit + FRAME), max_files=1, max_fields=0)
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, ValueError) as error:
        told = f"The form cannot be read: {str(error).rstrip('.') or 'no boundary'}."
        raise RequestInvalid([Problem("", None, None, "INVALID_VALUE", told, "Send one part named file.")]) from None
    try:
        part: Any = form.get("file")
        if part is None:
            told = "The form has no file named 'file'."
            raise RequestInvalid([Problem("/file", None, None, "MISSING", told, "curl -F file=@leads.csv …")])
        if part.size > limit:
            raise Refused("BODY_TOO_LARGE", f"The file is larger than {limit:,} bytes.", "Split it.")
        return await _keep(request, caller, name or part.filename or "file", part.file)
    finally:
        await form.close()


def _digest(content: IO[bytes]) -> str:
    content.seek(0)
    return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]


async def _keep(request: Request, caller: Caller, name: str, content: IO[bytes]) -> Response:
    name = name.replace("\\", "/").rpartition("/")[2][-255:]
    if not name or not name.isprintable():
        raise RequestInvalid([Problem("?name", None, None, "INVALID_VALUE", "The file's name cannot be used.")])
    digest = await call(_digest, content)

    def work(_: Any) -> dict[str, Any]:
        content.seek(0)
        return keep_file(caller.tenant, name, content).model_dump(by_alias=True)  # type: ignore[arg-type]

    return await answered_once(request, caller, ["file", name, digest], work, status=201, seconds=STORE_SECONDS)
