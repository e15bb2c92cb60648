"""What one does with workflows from a file: save a version, start a run, cancel it.

Saved workflows are in ``library.py``, starts of many in ``starting.py``, lists in ``listing.py``.
"""

from typing import Any

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import control_session, joined_session
from nexusflow.errors import NotFound
from nexusflow.workflows import models
from nexusflow.workflows.library import save_version
from nexusflow.workflows.paging import is_id
from nexusflow.workflows.starting import checked_input, remember, start_runs
from nexusflow.workflows.statements import WAKE
from nexusflow.workflows.versions import Version, read_definition

__all__ = [
    "Version",
    "cancel_run",
    "checked_input",
    "ensure_tenant",
    "read_definition",
    "save_version",
    "start_run",
]

_CANCEL = sa.text(
    "UPDATE runs SET ending = 'cancelled', ending_at = now(), cause = 'user', error = :error"
    " WHERE id = :run AND ending IS NULL AND finished_at IS NULL"
)


def ensure_tenant(name: str) -> str:
    """The id of the tenant of this name, which is made if there is none."""
    tenants = models.tenants
    with control_session() as connection:
        row = {"id": str(uuid_utils.uuid7()), "name": name}
        connection.execute(
            sa.text("INSERT INTO tenants (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING"), row
        )
        return str(connection.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).scalar_one())


def start_run(tenant: str, version: Version, given: dict[str, Any]) -> str:
    """Accept a run: durable when this returns. Gives the run's id. Raises InvalidInput, NotFound, Conflict.

    Its first segments are rows like all others; the dispatcher, woken at the commit, publishes them.
    """
    remember(tenant, version)
    return start_runs(tenant, version.workflow, [given], version=version.number, trigger="cli").run_ids[0]


def cancel_run(tenant: str, run: str, *, connection: sa.Connection | None = None) -> str:
    """Ask a run to end: nothing new starts, and it is cancelled once nothing of it runs. Gives its status now.

    A run that is over stays as it is. Raises NotFound.
    """
    status = None
    if is_id(run):
        with joined_session(tenant, connection) as session:
            error = {"code": "CANCELLED", "message": "The run was cancelled.", "cause": "user"}
            session.execute(_CANCEL, {"run": run, "error": orjson.dumps(error).decode()})
            session.execute(sa.text(WAKE))
            status = session.execute(
                sa.select(models.runs.c.status).where(models.runs.c.id == run)
            ).scalar_one_or_none()
    if status is None:
        raise NotFound(f"There is no run {run[:80]}.")
    return str(status)
