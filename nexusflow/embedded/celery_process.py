"""``celery worker`` and ``celery beat`` in copies of one process that has imported what they need.

It leaves out Celery's other commands and their plug-ins, which take half of a worker's start-up time.
"""

import contextlib
import gc
import importlib
import sys
from collections.abc import Sequence

from nexusflow.settings import use_settings

MODULES = (
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.beat",
    "celery.bin.worker",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "celery.loaders.app",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "sqlalchemy.dialects.postgresql.psycopg",
    "beat.scheduler",
    "tasks.integration",
    "tasks.notification",
    "tasks.workflow",
    "nexusflow.connectors.registry",
    "nexusflow.workflows.messaging.joins",
    "nexusflow.workers.command",
    "nexusflow.workers.consumer",
    "nexusflow.workers.heartbeat",
    "nexusflow.workers.requests",
)
"""What a worker or beat imports until it is ready; none of them reads the settings when it is imported."""


def preload(*more: str) -> None:
    """Import it all, and ``more``, once. What of ``more`` cannot be imported is for the processes to tell."""
    for name in MODULES:
        importlib.import_module(name)
    with contextlib.suppress(Exception):
        for name in more:
            importlib.import_module(name)


def share_memory() -> None:
    """Call it before a fork: the collector then writes no marks into what is there, so that copies go on sharing it."""
    gc.collect()
    gc.freeze()


def run(arguments: Sequence[str]) -> int:
    """Run ``celery -A nexusflow`` with these arguments (``worker …`` or ``beat …``) until it is told to stop."""
    from celery import signals  # noqa: PLC0415 - slow, and the supervisor imports this file first
    from celery.bin.base import CLIContext  # noqa: PLC0415

    from nexusflow.celery import app  # noqa: PLC0415

    use_settings(None)  # those of this process's environment, whatever was read before the fork
    command, *options = arguments
    module = importlib.import_module(f"celery.bin.{command}")
    app.set_current()
    signals.worker_before_create_process.connect(_before_a_pools_child)
    getattr(module, command).main(
        options, prog_name=f"celery {command}", obj=CLIContext(app=app, no_color=True, workdir=None)
    )
    return 0


def _before_a_pools_child(**_: object) -> None:
    share_memory()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
