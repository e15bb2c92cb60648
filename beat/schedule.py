"""Beat's table: one line a job, sorted by name, each with ``expires``. Tenants' schedules are rows, not lines here."""

from typing import Any

SCHEDULE: dict[str, dict[str, Any]] = {}
