"""Plans by version: immutable, so a process reads each once and keeps the latest."""

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import NotFound
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows import models
from nexusflow.workflows.rows.values import RecentlyUsed

CACHE_BYTES = 96 * 1024 * 1024
"""Of plans as Python's objects, taken for six times their JSON: that of 5,000 steps has 1.5 MB."""
_GROWTH = 6

_plans: RecentlyUsed[Plan] = RecentlyUsed(CACHE_BYTES)


def plan_of(tenant: str, version: str) -> Plan:
    """The compiled plan of a workflow version. Raises NotFound, ClusterUnusable."""
    known = _plans.get((tenant, version))
    if known is not None:
        return known
    versions = models.workflow_versions
    size = sa.func.octet_length(sa.cast(versions.c.plan, sa.Text))
    with tenant_session(tenant) as connection:
        found = connection.execute(sa.select(versions.c.plan, size).where(versions.c.id == version)).one_or_none()
    if found is None:
        raise NotFound(f"There is no workflow version {version}.")
    plan = Plan.from_json(found[0])
    _plans.put((tenant, version), plan, _GROWTH * found[1] + 1_000)
    return plan
