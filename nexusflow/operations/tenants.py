"""Tenants as an operator sees them: what lives, and how much of the cluster each may take."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.errors import InvalidInput, NotFound
from nexusflow.settings import get_settings
from nexusflow.suggestions import closest

MAX_WEIGHT = 100
MAX_NUMBER = 2_147_483_647

_LIST = sa.text("""
SELECT t.id, t.name, t.max_running, t.max_queued, t.weight,
       coalesce(r.running, 0) AS running, coalesce(r.queued, 0) AS queued
FROM tenants t LEFT JOIN (
    SELECT tenant_id, count(*) FILTER (WHERE status <> 'queued') AS running,
           count(*) FILTER (WHERE status = 'queued') AS queued
    FROM runs WHERE finished_at IS NULL GROUP BY tenant_id) r ON r.tenant_id = t.id
ORDER BY t.name
""")

_NAMES = sa.text("SELECT name FROM tenants")

_LIMIT = sa.text("""
UPDATE tenants SET max_running = CASE WHEN :sets_running THEN CAST(:running AS int) ELSE max_running END,
    max_queued = CASE WHEN :sets_queued THEN CAST(:queued AS int) ELSE max_queued END,
    weight = coalesce(CAST(:weight AS int), weight)
WHERE name = :name RETURNING pg_notify('nexusflow_work', id::text)
""")


@dataclass(frozen=True)
class TenantLine:
    """A tenant: its live runs, and its limits (None: as the settings say; 0: none).

    ``running``: runs that have begun, paused ones too. ``queued``: runs that wait to begin. ``weight``: its share of
    the workers where several tenants have work.
    """

    id: str
    name: str
    running: int
    queued: int
    max_running: int | None
    max_queued: int | None
    weight: int

    @property
    def most_running(self) -> int:
        """The limit that counts; 0: none."""
        return get_settings().max_running_runs if self.max_running is None else self.max_running

    @property
    def most_queued(self) -> int:
        """The limit that counts; 0: none."""
        return get_settings().max_queued_runs if self.max_queued is None else self.max_queued


def list_tenants() -> list[TenantLine]:
    """All tenants, by name. Raises ClusterUnusable."""
    with control_session() as connection:
        rows = connection.execute(_LIST).mappings().all()
    return [TenantLine(**{**row, "id": str(row["id"])}) for row in rows]


def limit_tenant(name: str, changes: dict[str, int | None]) -> TenantLine:
    """Change a tenant's ``running`` or ``queued`` limit (None: as the settings say; 0: none), or its ``weight``.

    What waits is looked at again at once; what runs already goes on. Raises InvalidInput, NotFound, ClusterUnusable.
    """
    _check(changes)
    asked: dict[str, Any] = {
        "name": name,
        "sets_running": "running" in changes,
        "running": changes.get("running"),
        "sets_queued": "queued" in changes,
        "queued": changes.get("queued"),
        "weight": changes.get("weight"),
    }
    with control_session() as connection:
        if connection.execute(_LIMIT, asked).first() is None:
            names = [str(each) for (each,) in connection.execute(_NAMES)]
            meant = closest(name, names)
            hint = f"Did you mean '{meant}'?" if meant else "nexusflow tenants list shows them."
            raise NotFound(f"There is no tenant '{name[:80]}'.", hint)
    return next(each for each in list_tenants() if each.name == name)


def _check(changes: dict[str, int | None]) -> None:
    if not changes:
        raise InvalidInput("Nothing is to be changed.", "Give --running, --queued or --weight.")
    for word, number in changes.items():
        least, most = (1, MAX_WEIGHT) if word == "weight" else (0, MAX_NUMBER)
        if number is None and word == "weight":
            raise InvalidInput("A weight has no default to go back to.", "Give --weight 1.")
        if number is not None and not least <= number <= most:
            raise InvalidInput(f"--{word} is {number}; it must be a whole number from {least} to {most:,}.")
