"""Saved workflows: create, change, publish, archive, delete. Every save is an immutable version.

Each change locks the workflow's row first, so that two of them come one after the other; starts lock nothing.
"""

import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import joined_session
from nexusflow.errors import Conflict, VersionChanged
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.saved.comparing import VersionDiff, diff_versions
from nexusflow.workflows.saved.saved import (
    VersionSummary,
    WorkflowDetail,
    WorkflowSummary,
    find_workflow,
    list_versions,
    list_workflows,
    read_summary,
    read_workflow,
)
from nexusflow.workflows.saved.schedules import sync_schedules
from nexusflow.workflows.saved.versions import (
    Compiled,
    Version,
    compile_source,
    keep_version,
    no_version,
    read_definition,
    unknown_workflow,
)

__all__ = [
    "VersionDiff",
    "VersionSummary",
    "WorkflowDetail",
    "WorkflowSummary",
    "archive_workflow",
    "create_workflow",
    "delete_workflow",
    "diff_versions",
    "find_workflow",
    "list_versions",
    "list_workflows",
    "publish_workflow",
    "read_workflow",
    "save_version",
    "update_workflow",
]

_CREATE = sa.text(
    "INSERT INTO workflows (id, tenant_id, name, config) VALUES (:id, :tenant, :name, :config)"
    " ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL DO NOTHING RETURNING id"
)
_ENSURE = sa.text(
    "INSERT INTO workflows (id, tenant_id, name, config) VALUES (:id, :tenant, :name, :config)"
    " ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL DO UPDATE SET name = excluded.name RETURNING id"
)
_LOCK = sa.text("SELECT id FROM workflows WHERE id = :workflow AND deleted_at IS NULL FOR UPDATE")
_LATEST = sa.text("SELECT coalesce(max(number), 0) FROM workflow_versions WHERE workflow_id = :workflow")
_CHANGE = sa.text(
    "UPDATE workflows SET name = :name, config = :config, updated_at = now() WHERE id = :workflow"
    " AND (name, config) IS DISTINCT FROM (CAST(:name AS text), CAST(:config AS jsonb))"
)
_PUBLISH = sa.text(
    "UPDATE workflows SET status = 'published', published_version = :number, updated_at = now() WHERE id = :workflow"
)
_ARCHIVE = sa.text("UPDATE workflows SET status = 'archived', updated_at = now() WHERE id = :workflow")
_DELETE = sa.text("UPDATE workflows SET deleted_at = now(), updated_at = now() WHERE id = :workflow")
_SOURCE = sa.text("SELECT source FROM workflow_versions WHERE workflow_id = :workflow AND number = :number")


def create_workflow(
    tenant: str, source: bytes, *, publish: bool = False, connection: sa.Connection | None = None
) -> WorkflowSummary:
    """Save a new workflow under the name in its definition. Raises InvalidDefinition, Conflict (NAME_TAKEN)."""
    compiled = compile_source(source)
    with joined_session(tenant, connection) as session:
        values = {"id": str(uuid_utils.uuid7()), "tenant": tenant, **_row(compiled)}
        workflow = session.execute(_CREATE, values).scalar_one_or_none()
        if workflow is None:
            raise _taken(compiled.definition.name)
        _, number = keep_version(session, tenant, str(workflow), compiled)
        if publish:
            _publish(session, tenant, str(workflow), number, compiled.definition)
        return read_summary(session, str(workflow))


def update_workflow(
    tenant: str,
    workflow_id: str,
    source: bytes,
    *,
    publish: bool = False,
    expected_version: int | None = None,
    connection: sa.Connection | None = None,
) -> WorkflowSummary:
    """Save a version; the newest one's text again changes nothing. The definition's name becomes the workflow's.

    ``expected_version``: the newest one its author has seen. A published version stays published unless ``publish``.
    Raises InvalidDefinition, NotFound, Conflict (NAME_TAKEN), VersionChanged.
    """
    compiled = compile_source(source)
    with joined_session(tenant, connection) as session:
        latest = _lock(session, workflow_id)
        if expected_version is not None and expected_version != latest:
            raise VersionChanged(
                f"The newest version is {latest}, not {expected_version}.", "Read it, and save your change again."
            )
        _, number = keep_version(session, tenant, workflow_id, compiled)
        _change(session, workflow_id, compiled)
        if publish:
            _publish(session, tenant, workflow_id, number, compiled.definition)
        return read_summary(session, workflow_id)


def save_version(tenant: str, source: bytes, name: str = "") -> Version:
    """Keep a definition under the name in it, published or not; a text that was saved before is the same version.

    ``name``: the file it came from. Raises InvalidDefinition.
    """
    compiled = compile_source(source, name)
    with joined_session(tenant, None) as session:
        values = {"id": str(uuid_utils.uuid7()), "tenant": tenant, **_row(compiled)}
        workflow = str(session.execute(_ENSURE, values).scalar_one())
        latest = _lock(session, workflow)
        version, number = keep_version(session, tenant, workflow, compiled, older_too=True)
        if number > latest:
            _change(session, workflow, compiled)
    return Version(version, workflow, compiled.definition.name, number, compiled.definition, compiled.plan)


def publish_workflow(
    tenant: str, workflow_id: str, version: int | None = None, *, connection: sa.Connection | None = None
) -> WorkflowSummary:
    """Make a version (default: the newest) the one that runs, and its triggers live; also of an archived workflow.

    Raises NotFound, InvalidDefinition where this deployment cannot run the version (any more).
    """
    with joined_session(tenant, connection) as session:
        latest = _lock(session, workflow_id)
        number = latest if version is None else version
        source = session.execute(_SOURCE, {"workflow": workflow_id, "number": number}).scalar_one_or_none()
        if source is None:
            raise no_version(number)
        _publish(session, tenant, workflow_id, number, read_definition(source.encode()))
        return read_summary(session, workflow_id)


def archive_workflow(tenant: str, workflow_id: str, *, connection: sa.Connection | None = None) -> WorkflowSummary:
    """Let nothing start it any more, by hand or by a trigger; what runs goes on. Raises NotFound."""
    with joined_session(tenant, connection) as session:
        _lock(session, workflow_id)
        session.execute(_ARCHIVE, {"workflow": workflow_id})
        sync_schedules(session, tenant, workflow_id, None)
        return read_summary(session, workflow_id)


def delete_workflow(tenant: str, workflow_id: str, *, connection: sa.Connection | None = None) -> None:
    """Remove a workflow: its name is free again, its runs go on and stay readable. Raises NotFound."""
    with joined_session(tenant, connection) as session:
        _lock(session, workflow_id)
        session.execute(_DELETE, {"workflow": workflow_id})
        sync_schedules(session, tenant, workflow_id, None)


def _lock(session: sa.Connection, workflow: str) -> int:
    """Have the workflow to oneself; gives the number of its newest version. Raises NotFound."""
    if not is_id(workflow) or session.execute(_LOCK, {"workflow": workflow}).first() is None:
        raise unknown_workflow(workflow)
    # Only a statement that begins now sees what was saved while the lock was waited for.
    return int(session.execute(_LATEST, {"workflow": workflow}).scalar_one())


def _change(session: sa.Connection, workflow: str, compiled: Compiled) -> None:
    """The workflow's row shows its newest version. Raises Conflict."""
    try:
        session.execute(_CHANGE, {"workflow": workflow, **_row(compiled)})
    except sa.exc.IntegrityError:
        raise _taken(compiled.definition.name) from None


def _publish(session: sa.Connection, tenant: str, workflow: str, number: int, definition: Definition) -> None:
    session.execute(_PUBLISH, {"workflow": workflow, "number": number})
    sync_schedules(session, tenant, workflow, definition)


def _row(compiled: Compiled) -> dict[str, str]:
    return {"name": compiled.definition.name, "config": compiled.stored_config}


def _taken(name: str) -> Conflict:
    return Conflict(
        "NAME_TAKEN",
        f"There is a workflow named {name} already.",
        "Change that one, or give this one another name.",
    )
