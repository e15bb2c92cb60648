"""Beat's table: one line a job, sorted by name, each with ``expires``. Tenants' schedules are rows, not lines here."""

from typing import Any

SCHEDULE: dict[str, dict[str, Any]] = {
    "prune": {"task": "tasks.workflow.prune", "schedule": 3600.0, "options": {"expires": 1800}},
}
