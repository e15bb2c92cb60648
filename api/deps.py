"""What routes ask for: who calls, ids that are ids, keys of requests; and routes that refuse what they do not know."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from api.calls import call
from api.errors import Refused, RequestInvalid
from api.limits import rate_limit
from api.visits import visit_of
from nexusflow.auth.keys import Principal, authenticate, recalled
from nexusflow.errors import NotFound, Problem, Unauthorized
from nexusflow.suggestions import hint_for
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.starts.idempotency import MAX_KEY

COOKIE = "nexusflow_key"
"""The page's; sent by browsers on their own, so it changes something only for requests of this very site."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def principal(request: Request) -> Principal:
    """Whose request this is, by its API key; counted against the tenant's limit.

    Raises Unauthorized, Refused (403, 429, 503), ClusterUnusable.
    """
    secret = _secret(request)
    known = recalled(secret)
    if known is None:
        known = await call(authenticate, secret)
    visit = visit_of(request)
    visit.tenant, visit.tenant_name = known.tenant, known.tenant_name
    await rate_limit().spend(known.tenant, visit)
    return known


Caller = Annotated[Principal, Depends(principal)]


def _secret(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer":
            raise Unauthorized
        return secret.strip()
    if (given := request.headers.get("x-api-key")) is not None:
        return given.strip()
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise Unauthorized
    if request.method not in SAFE and not is_same_origin(request):
        raise Refused("CROSS_SITE", "This request comes from another site.", "Send the key as Authorization: Bearer.")
    return cookie


def is_same_origin(request: Request) -> bool:
    """Whether a browser says that a page of this very site sent the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def identity(text: str, what: str = "run") -> str:
    """An id of a path; one that is no id names nothing. Raises NotFound."""
    if not is_id(text):
        raise NotFound(f"There is no {what} {text[:80]}.")
    return text.lower()


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, if there is one. Raises RequestInvalid."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        message = f"An Idempotency-Key is 1 to {MAX_KEY} printable ASCII characters."
        raise RequestInvalid([Problem("Idempotency-Key", None, None, "INVALID_VALUE", message, "Send a UUID.")])
    return key


class StrictRoute(APIRoute):
    """A route that refuses query parameters it does not know, and those given twice that mean one value."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, behind the check."""
        handle = super().get_route_handler()
        known = _query_names(self)

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                _refuse_unknown(request.scope["query_string"], known)
            return await handle(request)

        return strict


def _query_names(route: APIRoute) -> dict[str, bool]:
    """The query parameters by name, and whether each may come more than once."""
    found: dict[str, bool] = {}
    for field in route.dependant.query_params:
        model = getattr(field.field_info, "annotation", None)
        fields = getattr(model, "model_fields", None)
        if fields is None:
            found[field.alias] = "list[" in str(model) or "set[" in str(model)
            continue
        for name, each in fields.items():
            found[each.alias or name] = "list[" in str(each.annotation) or "set[" in str(each.annotation)
    return found


def _refuse_unknown(query: bytes, known: dict[str, bool]) -> None:
    given = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    problems = [
        Problem(
            f"?{name[:80]}",
            None,
            None,
            "UNKNOWN_PARAMETER" if name not in known else "GIVEN_TWICE",
            f"The parameter '{name[:80]}' is not known here."
            if name not in known
            else f"The parameter '{name}' is given more than once.",
            hint_for(name, known) if name not in known else "",
        )
        for name in dict.fromkeys(given)
        if name not in known or (given.count(name) > 1 and not known[name])
    ]
    if problems:
        raise RequestInvalid(problems)
