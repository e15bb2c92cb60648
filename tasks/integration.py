"""The door from the ``integration`` queue."""

from typing import Any

from nexusflow.celery import tenant_task
from nexusflow.workflows.rows.work import Hint
from tasks.segments import run_hinted


@tenant_task(name="tasks.integration.run_segment")
def run_segment(task: Any, tenant: str, run: str, segment: int, item: str = "", lo: int = 0) -> list[int]:
    """Run a segment if it is ready: see ``nexusflow.workflows.engine.runner``."""
    return run_hinted(task, Hint(tenant, run, segment, item, lo))
