"""Bodies of requests: bounded while they arrive, JSON that means one thing only, and models of what is asked."""

import asyncio
import json
import math
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.calls import call
from api.errors import Refused, RequestInvalid, problems_of
from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.settings import get_settings
from nexusflow.suggestions import hint_for, one_of
from nexusflow.workflows.language.document import MAX_INTEGER, MIN_INTEGER

IDLE_SECONDS = 30.0
"""How long a body may pause."""
SMALL = 65_536
"""A larger body is read in a thread, so that no other request waits for it."""
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)

Model = TypeVar("Model", bound=BaseModel)


async def chunks_of(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """A body as it arrives. Raises Refused (413) as soon as it is known to be too long, and 408 where it stalls."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    size = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            told = f"Nothing of the body came for {IDLE_SECONDS:g} s."
            raise Refused("REQUEST_TIMEOUT", told, "Send it again.", headers={"Connection": "close"}) from None
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


async def read_bytes(request: Request, limit: int) -> bytes:
    """A whole body. Raises Refused."""
    chunks = [chunk async for chunk in chunks_of(request, limit)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> Refused:
    hint = "Send less at once; large data are given as files: POST /v2/files."
    return Refused("BODY_TOO_LARGE", f"The body is larger than {limit:,} bytes.", hint, headers={"Connection": "close"})


def media_type(request: Request, allowed: Sequence[str]) -> str:
    """The body's type, which must be one of these. Raises Refused (415)."""
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        told = f"A body with the Content-Encoding '{encoding[:40]}' is not taken here."
        raise Refused("UNSUPPORTED_MEDIA_TYPE", told, "Send it as it is.")
    if kind not in allowed or (charset and charset.group(1).lower() not in ("utf-8", "utf8", "us-ascii")):
        told = f"'{given[:80]}' is not taken here." if given else "The body's Content-Type is missing."
        raise Refused("UNSUPPORTED_MEDIA_TYPE", told, f"Send {one_of(allowed)}, in UTF-8.")
    return kind


async def read_json(request: Request) -> Any:
    """The body's JSON. Raises Refused (400, 413, 415), RequestInvalid."""
    media_type(request, ("application/json",))
    raw = await read_bytes(request, get_settings().max_body_bytes)
    return parse_json(raw) if len(raw) <= SMALL else await call(parse_json, raw)


async def read_model(request: Request, model: type[Model], *, optional: bool = False) -> Model:
    """The body as a model; ``optional``: an empty body is an empty object."""
    if optional and await _is_empty(request):
        return model()
    return to_model(await read_json(request), model)


async def _is_empty(request: Request) -> bool:
    if request.headers.get("content-length", "") == "0":
        return True
    if "transfer-encoding" in request.headers:  # a client or proxy may send nothing in chunks, too
        return "content-type" not in request.headers and not await read_bytes(request, get_settings().max_body_bytes)
    return "content-length" not in request.headers


def to_model(value: Any, model: type[Model]) -> Model:
    """Raises RequestInvalid with every problem."""
    if not isinstance(value, dict):
        raise RequestInvalid([Problem("", None, None, "INVALID_VALUE", "The body must be a JSON object.")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = problems_of(error.errors(include_url=False, include_input=False))
        raise RequestInvalid([_meant(each, model) for each in found]) from None


def _meant(problem: Problem, model: type[BaseModel]) -> Problem:
    """With what an unknown field may have been meant to be."""
    if problem.code != "UNKNOWN_FIELD":
        return problem
    return replace(problem, hint=hint_for(problem.path.removeprefix("/"), model.model_fields))


def parse_json(raw: bytes) -> Any:
    """JSON that means one thing only: no key twice, no NaN, no number that would be rounded, no half character."""
    try:
        orjson.loads(raw)  # the strict and quick reader decides what JSON is
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise _too_deep() from None
        told = re.sub(r": line (\d+) column (\d+) \(char \d+\)", r" at line \1, column \2", str(error))
        raise Refused("NOT_JSON", f"The body is no JSON: {told}.", "Send one JSON object, in UTF-8.") from None
    if _depth(raw) > get_settings().max_depth:
        raise _too_deep()
    value = json.loads(
        raw, object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_no_number
    )
    if b"\\u0000" in raw:
        _refuse_nul(value, "")
    return value


def _depth(raw: bytes) -> int:
    """How deeply a JSON text is nested; an upper bound where that already is within the limit."""
    bound = raw.count(b"[") + raw.count(b"{")
    if bound <= get_settings().max_depth:
        return bound
    depth = deepest = 0
    for match in _STRINGS_AND_BRACKETS.finditer(raw):
        if match.group(1):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group(2):
            depth -= 1
    return deepest


def _too_deep() -> Refused:
    limit = get_settings().max_depth
    hint = "Nest the data less, or give it as a file: POST /v2/files."
    return Refused("TOO_DEEP", f"The body's lists and objects are nested more than {limit} deep.", hint)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Refused("NOT_JSON", f"The key '{twice[:80]}' is twice in one object.", "Give each key once.")
    return found


def _integer(text: str) -> int:
    return int(text) if len(text) <= 20 and MIN_INTEGER <= int(text) <= MAX_INTEGER else _no_number(text)


def _fraction(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise Refused("NOT_JSON", f"{text[:40]} is too large for a number.", "Send it as text, in quotes.")


def _refuse_nul(value: Any, pointer: str) -> None:
    if isinstance(value, str) and "\x00" in value:
        told = "This text holds a NUL character (\\u0000), which cannot be kept."
        raise RequestInvalid([Problem(pointer, None, None, "CHARACTER_REFUSED", told, "Remove that character.")])
    if isinstance(value, dict):
        for key, each in value.items():
            _refuse_nul(key, pointer)
            _refuse_nul(each, child(pointer, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _refuse_nul(each, child(pointer, index))
