"""What one reads of saved workflows: one, a page of them, their versions. ``library.py`` hands these on."""
# ruff: noqa: S608 - composed of this file's constants; every value is a parameter

import datetime
import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput
from nexusflow.suggestions import one_of
from nexusflow.workflows.rows.paging import (
    MAX_TOTAL,
    Page,
    a_moment,
    a_name,
    an_id,
    check_page,
    check_text,
    is_id,
    make_cursor,
    read_cursor,
)
from nexusflow.workflows.saved.versions import no_version, unknown_workflow

STATUSES = ("draft", "published", "archived")
SORTS = ("name", "-name", "created_at", "-created_at", "updated_at", "-updated_at")
MIN_ID_PREFIX = 8

_SUMMARY = """
SELECT w.id, w.name, w.status, w.published_version, w.created_at, w.updated_at,
       coalesce(w.config ->> 'description', '') AS description,
       (SELECT max(v.number) FROM workflow_versions v WHERE v.workflow_id = w.id) AS latest_version
FROM workflows w
"""
_ONE = sa.text(_SUMMARY + "WHERE w.id = :workflow AND w.deleted_at IS NULL")
_VERSION = sa.text(
    "SELECT id, number, digest, created_at, source, config FROM workflow_versions"
    " WHERE workflow_id = :workflow AND number = :number"
)
_VERSIONS = sa.text(
    "SELECT id, number, digest, created_at FROM workflow_versions WHERE workflow_id = :workflow"
    " ORDER BY number DESC LIMIT :limit OFFSET :offset"
)
_COUNT_VERSIONS = sa.text("SELECT count(*) FROM workflow_versions WHERE workflow_id = :workflow")
_BY_NAME = sa.text("SELECT id FROM workflows WHERE name = :name AND deleted_at IS NULL")
_BY_PREFIX = sa.text(
    "SELECT id, name FROM workflows WHERE id BETWEEN :low AND :high AND deleted_at IS NULL ORDER BY id DESC LIMIT 4"
)


@dataclass(frozen=True)
class WorkflowSummary:
    """A saved workflow. ``published_version``: the one that runs, None while none is."""

    id: str
    name: str
    status: str
    published_version: int | None
    latest_version: int
    created_at: datetime.datetime
    updated_at: datetime.datetime
    description: str


@dataclass(frozen=True)
class VersionSummary:
    """One immutable version of a workflow."""

    id: str
    number: int
    digest: str
    created_at: datetime.datetime
    is_published: bool


@dataclass(frozen=True)
class WorkflowDetail:
    """A workflow and one of its versions: the author's text, and the definition as JSON without what is default."""

    workflow: WorkflowSummary
    version: VersionSummary
    source: str
    definition: dict[str, Any]

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of a run's input; empty where anything goes."""
        schema: dict[str, Any] = self.definition.get("input", {}).get("schema", {})
        return schema


def read_workflow(tenant: str, workflow_id: str, version: int | None = None) -> WorkflowDetail:
    """A workflow with this version, else the published one, else the newest. Raises NotFound."""
    with tenant_session(tenant) as session:
        summary = read_summary(session, workflow_id)
        number = version or summary.published_version or summary.latest_version
        row = session.execute(_VERSION, {"workflow": workflow_id, "number": number}).first()
    if row is None:
        raise no_version(number)
    return WorkflowDetail(summary, _version(row, summary), row.source, row.config)


def read_summary(session: sa.Connection, workflow: str) -> WorkflowSummary:
    """A workflow, in a transaction under way. Raises NotFound."""
    row = session.execute(_ONE, {"workflow": workflow}).first() if is_id(workflow) else None
    if row is None:
        raise unknown_workflow(workflow)
    return _summary(row)


def list_workflows(
    tenant: str,
    *,
    status: str | None = None,
    text: str | None = None,
    sort: str = "name",
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[WorkflowSummary]:
    """Workflows that are not deleted. ``text``: in the name or the description. Raises InvalidInput."""
    offset = check_page(page, per_page)
    where, values = _filters(status, check_text(text))
    order, onward, position = _order(sort, cursor)
    query = f"{_SUMMARY} WHERE {' AND '.join([*where, *onward])} {order} LIMIT :limit OFFSET :offset"
    count = f"SELECT count(*) FROM (SELECT 1 FROM workflows w WHERE {' AND '.join(where)} LIMIT :most) AS counted"
    bounds = {"limit": per_page + 1, "offset": offset if cursor is None else 0}
    with tenant_session(tenant) as session:
        rows = session.execute(sa.text(query), values | position | bounds).all()
        total = session.execute(sa.text(count), values | {"most": MAX_TOTAL + 1}).scalar_one()
    items = [_summary(row) for row in rows[:per_page]]
    following = None
    if len(rows) > per_page:
        following = make_cursor(sort, getattr(items[-1], sort.lstrip("-")), items[-1].id)
    return Page(items, page, per_page, min(total, MAX_TOTAL), total > MAX_TOTAL, following)


def _filters(status: str | None, text: str) -> tuple[list[str], dict[str, Any]]:
    """Conditions and their values."""
    where, values = ["w.deleted_at IS NULL"], {}
    if status is not None:
        if status not in STATUSES:
            raise InvalidInput(f"There is no status {status[:40]}.", f"Give {one_of(list(STATUSES))}.")
        where.append("w.status = :status")
        values["status"] = status
    if text:
        where.append(
            "(strpos(w.name, lower(:text)) > 0 OR strpos(lower(w.config ->> 'description'), lower(:text)) > 0)"
        )
        values["text"] = text
    return where, values


def _order(sort: str, cursor: str | None) -> tuple[str, list[str], dict[str, Any]]:
    """The order, the condition that leaves out what a cursor has passed, and its values."""
    if sort not in SORTS:
        raise InvalidInput(f"Workflows cannot be sorted by {sort[:40]}.", f"Give {one_of(list(SORTS))}.")
    column = sort.lstrip("-")
    direction, sign = ("DESC", "<") if sort.startswith("-") else ("ASC", ">")
    order = f"ORDER BY w.{column} {direction}, w.id {direction}"
    if cursor is None:
        return order, [], {}
    kind, reader = ("text", a_name) if column == "name" else ("timestamptz", a_moment)
    at, after = read_cursor(cursor, sort, reader, an_id)
    return order, [f"(w.{column}, w.id) {sign} (CAST(:at AS {kind}), CAST(:after AS uuid))"], {"at": at, "after": after}


def list_versions(tenant: str, workflow_id: str, page: int = 1, per_page: int = 20) -> Page[VersionSummary]:
    """A workflow's versions, newest first. Raises NotFound, InvalidInput."""
    offset = check_page(page, per_page)
    with tenant_session(tenant) as session:
        summary = read_summary(session, workflow_id)
        rows = session.execute(_VERSIONS, {"workflow": workflow_id, "limit": per_page, "offset": offset}).all()
        total = session.execute(_COUNT_VERSIONS, {"workflow": workflow_id}).scalar_one()
    return Page([_version(row, summary) for row in rows], page, per_page, min(total, MAX_TOTAL), total > MAX_TOTAL)


def find_workflow(tenant: str, name: str) -> str:
    """The id of the workflow of this name or id, or whose id begins so (8 characters at least).

    Raises NotFound, InvalidInput (more than one).
    """
    given = name.strip().lower()
    if not given.isprintable():
        raise unknown_workflow(name)
    digits = given.replace("-", "")
    with tenant_session(tenant) as session:
        found = [(str(row.id), given) for row in session.execute(_BY_NAME, {"name": given})]
        if not found and re.fullmatch(r"[0-9a-f]{8,32}", digits):
            bounds = {"low": digits.ljust(32, "0"), "high": digits.ljust(32, "f")}
            found = [(str(row.id), row.name) for row in session.execute(_BY_PREFIX, bounds)]
    if not found:
        raise unknown_workflow(name)
    if len(found) > 1:
        shown = ", ".join(f"{id_} ({name})" for id_, name in found[:3])
        raise InvalidInput(f"More than one workflow's id begins with {given}: {shown}.", "Give more of the id.")
    return found[0][0]


def _summary(row: Any) -> WorkflowSummary:
    return WorkflowSummary(
        id=str(row.id),
        name=row.name,
        status=row.status,
        published_version=row.published_version,
        latest_version=row.latest_version or 0,
        created_at=row.created_at,
        updated_at=row.updated_at,
        description=row.description,
    )


def _version(row: Any, workflow: WorkflowSummary) -> VersionSummary:
    is_published = workflow.status == "published" and row.number == workflow.published_version
    return VersionSummary(str(row.id), row.number, row.digest, row.created_at, is_published)
