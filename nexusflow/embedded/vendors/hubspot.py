"""HubSpot's CRM v3 contacts: batch upsert and read, one contact, search."""

import json
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from nexusflow.embedded.vendors.calls import CallLog
from nexusflow.embedded.vendors.contacts import Contacts

CONTACTS = "/crm/v3/objects/contacts"
MOST_INPUTS = 100


class LocalHubSpot:
    """A CRM with contacts."""

    def __init__(self, calls: CallLog, contacts: Contacts) -> None:
        self._calls = calls
        self._contacts = contacts

    def routes(self) -> list[Route]:
        """The paths under ``/hubspot``."""
        return [
            Route(f"{CONTACTS}/batch/upsert", self._upsert, methods=["POST"]),
            Route(f"{CONTACTS}/batch/read", self._read, methods=["POST"]),
            Route(f"{CONTACTS}/search", self._search, methods=["POST"]),
            Route(f"{CONTACTS}/{{contact}}", self._get, methods=["GET"]),
            Route(f"{CONTACTS}/{{contact}}", self._update, methods=["PATCH"]),
            Route(CONTACTS, self._page, methods=["GET"]),
            Route(CONTACTS, self._create, methods=["POST"]),
        ]

    async def _upsert(self, request: Request) -> Response:
        inputs = await _inputs(request)
        if isinstance(inputs, Response):
            return inputs
        invalid = [one["id"] for one in inputs if one.get("idProperty") == "email" and "@" not in str(one.get("id"))]
        if invalid:
            return _error(400, f"Property values were not valid: Email address {invalid[0]} is invalid")
        results = []
        for one in inputs:
            old = self._contacts.find(str(one.get("idProperty", "")), str(one["id"]))
            properties = dict(one.get("properties") or {})
            if one.get("idProperty"):
                properties.setdefault(one["idProperty"], one["id"])
            trace = str(one.get("objectWriteTraceId") or "")
            kept = self._contacts.put(old["id"] if old else None, properties, trace)
            results.append({**kept, "new": old is None})
            self._calls.add(
                "hubspot",
                "upsert_contact",
                idempotency_key=trace,
                id=kept["id"],
                created=old is None,
                email=kept["properties"].get("email"),
                properties=properties,
            )
        return JSONResponse(_batch(results))

    async def _read(self, request: Request) -> Response:
        inputs = await _inputs(request)
        if isinstance(inputs, Response):
            return inputs
        name = str((await request.json()).get("idProperty") or "")
        found = [self._contacts.find(name, str(one["id"])) for one in inputs]
        return JSONResponse(_batch([one for one in found if one is not None]))

    async def _search(self, request: Request) -> Response:
        asked = await request.json()
        groups = asked.get("filterGroups") or [{"filters": []}]
        limit = int(asked.get("limit") or 10)
        found = [one for one in self._contacts.all() if any(_fits(one, group.get("filters", [])) for group in groups)]
        return JSONResponse({"total": len(found), "results": found[:limit]})

    async def _get(self, request: Request) -> Response:
        contact = self._named(request)
        return JSONResponse(contact) if contact else _error(404, "resource not found")

    async def _update(self, request: Request) -> Response:
        contact = self._named(request)
        if contact is None:
            return _error(404, "resource not found")
        properties = (await request.json()).get("properties") or {}
        self._calls.add("hubspot", "update_contact", id=contact["id"], properties=properties)
        return JSONResponse(self._contacts.put(contact["id"], properties))

    async def _create(self, request: Request) -> Response:
        properties = (await request.json()).get("properties") or {}
        old = self._contacts.find("email", str(properties.get("email") or ""))
        if old is not None:
            return _error(409, f"Contact already exists. Existing ID: {old['id']}")
        contact = self._contacts.put(None, properties)
        self._calls.add("hubspot", "create_contact", id=contact["id"], properties=properties)
        return JSONResponse(contact, 201)

    async def _page(self, request: Request) -> Response:
        start, limit = int(request.query_params.get("after", 0)), int(request.query_params.get("limit", 10))
        everyone = self._contacts.all()
        answer: dict[str, Any] = {"results": everyone[start : start + limit]}
        if start + limit < len(everyone):
            answer["paging"] = {"next": {"after": str(start + limit)}}
        return JSONResponse(answer)

    def _named(self, request: Request) -> dict[str, Any] | None:
        return self._contacts.find(request.query_params.get("idProperty", ""), request.path_params["contact"])


async def _inputs(request: Request) -> list[dict[str, Any]] | Response:
    if not request.headers.get("authorization", "").startswith("Bearer "):
        return _error(401, "Authentication credentials not found.")
    try:
        inputs = (await request.json())["inputs"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return _error(400, "Invalid input JSON")
    if len(inputs) > MOST_INPUTS:
        return _error(400, f"The maximum number of inputs is {MOST_INPUTS}")
    return list(inputs)


def _fits(contact: dict[str, Any], filters: list[dict[str, Any]]) -> bool:
    properties = contact["properties"]
    for one in filters:
        value = str(properties.get(one["propertyName"]) or "")
        wanted, operator = str(one.get("value", "")), one.get("operator", "EQ")
        if operator == "HAS_PROPERTY" and value:
            continue
        if (operator == "EQ") != (value.lower() == wanted.lower()):
            return False
    return True


def _batch(results: list[dict[str, Any]]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}


def _error(status: int, message: str) -> Response:
    return JSONResponse(
        {
            "status": "error",
            "message": message,
            "correlationId": "00000000-0000-4000-8000-000000000000",
            "category": "VALIDATION_ERROR" if status == 400 else "OBJECT_NOT_FOUND" if status == 404 else "CONFLICT",
        },
        status,
    )
