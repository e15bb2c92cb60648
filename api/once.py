"""Requests that may come twice: done once per Idempotency-Key, and answered the same."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from api.answers import answer, plain
from api.calls import ANSWER_SECONDS, call_within
from api.deps import idempotency_key
from nexusflow.auth.keys import Principal
from nexusflow.workflows.starts.idempotency import answer_once, fingerprint

KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key and request: the same answer, with `Idempotency-Replayed: true`."
    " The same key with another request: 409.",
}
"""How the header is described in the API's reference."""


async def answered_once(
    request: Request,
    caller: Principal,
    asked: list[Any],
    work: Callable[[sa.Connection], dict[str, Any]],
    *,
    status: int = 200,
    headers: Callable[[Mapping[str, Any]], dict[str, str]] = lambda _: {},
    seconds: float = ANSWER_SECONDS,
) -> Response:
    """Do a work in a transaction, once per key, and answer with what it gives.

    ``asked``: what the request asks for, which a key may not change. ``headers``: the answer's, of its data.
    """
    key = idempotency_key(request)
    mark = fingerprint(*asked) if key is not None else ""
    data, is_replayed = await call_within(
        seconds, lambda: answer_once(caller.tenant, key, mark, lambda connection: plain(work(connection)))
    )
    return answer(request, data, status=status, headers=headers(data) | replayed(is_replayed))


def replayed(is_replayed: bool) -> dict[str, str]:
    """The header that tells an answer given before."""
    return {"Idempotency-Replayed": "true"} if is_replayed else {}
