"""Plans by version: immutable, so a process reads each once."""

from functools import lru_cache

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import NotFound
from nexusflow.workflows import models
from nexusflow.workflows.plan import Plan


@lru_cache(maxsize=256)
def plan_of(tenant: str, version: str) -> Plan:
    """The compiled plan of a workflow version. Raises NotFound, ClusterUnusable."""
    with tenant_session(tenant) as connection:
        versions = models.workflow_versions
        found = connection.execute(sa.select(versions.c.plan).where(versions.c.id == version)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no workflow version {version}.")
    return Plan.from_json(found)
