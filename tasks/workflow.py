"""The door from the ``workflow`` queue."""

from typing import Any

from nexusflow.celery import app, tenant_task
from nexusflow.errors import NexusError
from nexusflow.log import get_logger
from nexusflow.workflows.rows import retention
from nexusflow.workflows.rows.work import Hint
from tasks.segments import run_hinted

log = get_logger(__name__)


@tenant_task(name="tasks.workflow.run_segment")
def run_segment(task: Any, tenant: str, run: str, segment: int, item: str = "", lo: int = 0) -> list[int]:
    """Run a segment if it is ready: see ``nexusflow.workflows.engine.runner``."""
    return run_hinted(task, Hint(tenant, run, segment, item, lo))


@app.task(name="tasks.workflow.prune", acks_late=False, ignore_result=True, shared=False)  # type: ignore[untyped-decorator]
def prune() -> None:
    """Delete what is past its retention, of all tenants; what cannot be deleted now goes next time."""
    try:
        gone = retention.prune()
        log.info("retention.done", months=gone.months, held=gone.held, objects=gone.objects, rows=gone.rows)
    except NexusError as error:
        log.warning("retention.later", error=str(error))
