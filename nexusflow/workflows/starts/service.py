"""What one does with workflows from a file: save a version, start a run.

Saved workflows are in ``library.py``, starts of many in ``starting.py``, what ends or holds a run in ``control.py``.
"""

from typing import Any

import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import control_session
from nexusflow.workflows.rows import models
from nexusflow.workflows.saved.library import save_version
from nexusflow.workflows.saved.versions import Version, read_definition
from nexusflow.workflows.starts.starting import checked_input, remember, start_runs

__all__ = [
    "Version",
    "checked_input",
    "ensure_tenant",
    "read_definition",
    "save_version",
    "start_run",
]


def ensure_tenant(name: str) -> str:
    """The id of the tenant of this name, which is made if there is none."""
    tenants = models.tenants
    with control_session() as connection:
        row = {"id": str(uuid_utils.uuid7()), "name": name}
        connection.execute(
            sa.text("INSERT INTO tenants (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING"), row
        )
        return str(connection.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).scalar_one())


def start_run(tenant: str, version: Version, given: dict[str, Any], *, mock: bool = False) -> str:
    """Accept a run: durable when this returns. Gives the run's id. ``mock``: with the steps' mocks.

    Its first segments are rows like all others; the dispatcher, woken at the commit, publishes them.
    Raises InvalidInput, NotFound, Conflict.
    """
    remember(tenant, version)
    started = start_runs(tenant, version.workflow, [given], version=version.number, trigger="cli", mock=mock)
    return started.run_ids[0]
