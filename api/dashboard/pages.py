"""How a page is made: templates, their headers, errors as pages, and who is signed in."""

import hashlib
from collections.abc import Callable, Coroutine
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.dashboard import words
from api.deps import COOKIE, principal
from api.errors import RETRY_SECONDS, Refused, RequestInvalid, hint_of, problems_of
from api.visits import visit_of
from nexusflow.auth.keys import Principal
from nexusflow.db.session import DATABASE_DOWN
from nexusflow.errors import NexusError, Unauthorized
from nexusflow.log import crash_fields, get_logger
from nexusflow.settings import get_settings

log = get_logger(__name__)

ASSETS = Path(__file__).with_name("assets")
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    named = (words.sign, words.word, words.duration, words.moment, words.ago, words.size, words.pretty, words.short)
    environment.filters |= {each.__name__: each for each in named} | {"segment": lambda text: quote(text, safe="")}
    environment.tests["cut"] = words.is_cut
    environment.globals |= {"asset": asset_url, "url": url, "causes": words.CAUSES}
    return environment


def render(name: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
    """A page, or (a template of another template's block) a part of one."""
    text = _templates().get_template(name).render(values)
    return Response(text, status, HEADERS | (headers or {}), "text/html; charset=utf-8")


def redirect(address: str) -> Response:
    """On to another page, by GET."""
    return RedirectResponse(address, 303, HEADERS)


def url(path: str, **query: Any) -> str:
    """An address with those parameters that are not empty."""
    given = urlencode({name: value for name, value in query.items() if value not in (None, "", 0)})
    return f"{path}?{given}" if given else path


@lru_cache(maxsize=32)
def asset_url(name: str) -> str:
    """An asset's address, which changes with what is in it."""
    digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
    return f"/page/{digest}/{name}"


async def signed_in(request: Request) -> Principal:
    """Whose page this is. Raises Unauthorized where nobody is signed in; what changes something, only from here."""
    return await principal(request)


class PageRoute(APIRoute):
    """A route whose errors are pages; who is not signed in is asked to."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, with errors for people."""
        handle = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                _check_size(request)
                return await handle(request)
            except Unauthorized:
                return _sign_in(request)
            except DATABASE_DOWN as error:
                log.warning("database.away", request_id=visit_of(request).request_id, type=type(error).__name__)
                return _away(request)
            except NexusError as error:
                return _away(request) if error.status == 503 else problem_page(request, error)
            except RequestValidationError as error:
                return problem_page(request, RequestInvalid(problems_of(error.errors())))
            except HTTPException as error:  # a form that cannot be read
                return problem_page(request, NexusError("VALIDATION_ERROR", str(error.detail), "", error.status_code))
            except Exception as error:
                log.error("page.crashed", request_id=visit_of(request).request_id, **crash_fields(error))
                hint = f"Report it with the request's id, {visit_of(request).request_id}."
                return problem_page(request, NexusError("INTERNAL", "Something went wrong here.", hint, 500))

        return page


def _check_size(request: Request) -> None:
    """Browsers say how long a form is. Raises Refused (413) for one that is too long, or does not say."""
    if request.method != "POST":
        return
    settings = get_settings()
    limit = settings.max_body_bytes + (settings.max_file_bytes if request.url.path.endswith("/start") else 0)
    announced = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers or (announced.isdigit() and int(announced[:20]) > limit):
        told = f"The form is larger than {limit:,} bytes, or does not tell its length."
        raise Refused("BODY_TOO_LARGE", told, "Send less at once.", headers={"Connection": "close"})


def is_part(request: Request) -> bool:
    """Whether a script asks for a part of the page."""
    return request.headers.get("x-page-part") == "1"


def problem_page(request: Request, error: NexusError) -> Response:
    """An error in words: what is wrong, what to do."""
    headers = dict(getattr(error, "headers", {}))
    name = "problem_part.html" if is_part(request) else "problem.html"
    return render(
        name,
        status=error.status,
        headers=headers,
        error=error,
        hint=hint_of(error),
        tenant=visit_of(request).tenant_name,
    )


def _away(request: Request) -> Response:
    hint = "What was accepted is kept, and goes on when it is back. This page tries again by itself."
    error = NexusError("CLUSTER_UNUSABLE", "The database cannot be used at the moment.", hint, 503)
    seconds = str(RETRY_SECONDS)
    response = problem_page(request, error)
    response.headers["Retry-After"] = seconds
    if request.method == "GET":
        response.headers["Refresh"] = seconds
    return response


def _sign_in(request: Request) -> Response:
    """To the sign-in page, and from there back; a key that is good no more is forgotten."""
    if is_part(request):
        response: Response = render("signed_out_part.html", status=401)
    else:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        there = "" if request.method != "GET" or wanted == "/" else wanted
        response = redirect(url("/sign-in", next=there, expired=1 if COOKIE in request.cookies else 0))
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
