"""Signing in with an API key, and out. The key is in a cookie that scripts cannot read and other sites cannot use."""

from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from api.calls import call
from api.dashboard.pages import ASSETS, HEADERS, KINDS, PageRoute, asset_url, redirect, render
from api.deps import COOKIE, is_same_origin
from api.errors import Refused
from nexusflow.auth.keys import authenticate
from nexusflow.errors import NotFound, Unauthorized

router = APIRouter(include_in_schema=False, route_class=PageRoute)

DAYS = 30
NOT_KNOWN = "This key is not known here, or it has expired or was revoked."


@router.get("/sign-in")
async def sign_in_page(next_: Annotated[str, Query(alias="next")] = "", expired: str = "") -> Response:
    """The page that asks for a key."""
    told = "You were signed out: the key is good no more." if expired else ""
    return render("sign_in.html", next=next_, told=told, tenant="")


@router.post("/sign-in")
async def sign_in(
    request: Request, key: Annotated[str, Form()] = "", next_: Annotated[str, Form(alias="next")] = ""
) -> Response:
    """Check a key and keep it in the browser. Raises Refused for another site's form."""
    if not is_same_origin(request):
        raise Refused("CROSS_SITE", "This request comes from another site.", "Open this page, and sign in here.")
    try:
        await call(authenticate, key.strip())
    except Unauthorized:
        return render("sign_in.html", status=401, next=next_, told=NOT_KNOWN, tenant="")
    response = redirect(_own(next_))
    response.set_cookie(
        COOKIE,
        key.strip(),
        max_age=DAYS * 86_400,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget the key in this browser."""
    if not is_same_origin(request):
        raise Refused("CROSS_SITE", "This request comes from another site.", "Sign out on this page.")
    response = redirect("/sign-in")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@router.get("/page/{digest}/{name}")
async def asset(digest: str, name: str) -> Response:
    """A style or a script; its address changes with it, so it is kept for ever."""
    path = ASSETS / name
    if "/" in name or path.suffix not in KINDS or not path.is_file():
        raise NotFound(f"There is no {name[:80]}.")
    is_current = asset_url(name) == f"/page/{digest}/{name}"
    kept = "public, max-age=31536000, immutable" if is_current else "no-cache"
    return FileResponse(path, headers=HEADERS | {"Cache-Control": kept}, media_type=KINDS[path.suffix])


def _own(address: str) -> str:
    """An address of this site, else its front page."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_own else "/"
