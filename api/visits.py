"""What is known of one request while it is answered: its id, its tenant, the headers its answer will carry."""

import re
from dataclasses import dataclass, field

import uuid_utils
from starlette.requests import HTTPConnection
from starlette.types import Scope

KEY = "nexusflow.visit"
_SANE_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")


@dataclass(slots=True)
class Visit:
    """One request. Whose it is (an id, a name) is empty until its key is known; ``headers`` go into every answer."""

    request_id: str
    tenant: str = ""
    tenant_name: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def begin_visit(scope: Scope) -> Visit:
    """A new visit; its id is the caller's X-Request-Id where that is fit for a log line, else a fresh one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    known = _SANE_ID.fullmatch(given) is not None
    scope[KEY] = visit = Visit(given.decode() if known else str(uuid_utils.uuid7()))
    return visit


def visit_of(request: HTTPConnection) -> Visit:
    """The visit of a request that came through the door."""
    found = request.scope.get(KEY)
    return found if isinstance(found, Visit) else begin_visit(request.scope)
