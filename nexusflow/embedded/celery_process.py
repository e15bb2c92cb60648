"""``celery worker`` and ``celery beat`` in copies of one process that has imported what they need.

It leaves out Celery's other commands and their plug-ins, which take half of a worker's start-up time.
"""

import importlib
from collections.abc import Sequence

from nexusflow.settings import use_settings

MODULES = (
    "celery.app.amqp",
    "celery.bin.beat",
    "celery.bin.worker",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "sqlalchemy.dialects.postgresql.psycopg",
    "beat.scheduler",
    "tasks.integration",
    "tasks.notification",
    "tasks.workflow",
    "nexusflow.connectors.registry",
    "nexusflow.workflows.joins",
    "nexusflow.workflows.leases",
)
"""What a worker or beat imports until it is ready; none of them reads the settings when it is imported."""


def preload() -> None:
    """Import it all, once."""
    for name in MODULES:
        importlib.import_module(name)


def run(arguments: Sequence[str]) -> int:
    """Run ``celery -A nexusflow`` with these arguments (``worker …`` or ``beat …``) until it is told to stop."""
    from celery.bin.base import CLIContext  # noqa: PLC0415 - slow, and the supervisor imports this file first

    from nexusflow.celery import app  # noqa: PLC0415

    use_settings(None)  # those of this process's environment, whatever was read before the fork
    command, *options = arguments
    module = importlib.import_module(f"celery.bin.{command}")
    app.set_current()
    getattr(module, command).main(
        options, prog_name=f"celery {command}", obj=CLIContext(app=app, no_color=True, workdir=None)
    )
    return 0
