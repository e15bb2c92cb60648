"""The Celery app, and the one decorator that makes its tasks."""

import importlib
import sys
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any

from celery import Celery, Task, bootsteps, signals
from celery.exceptions import Reject
from celery.loaders.app import AppLoader
from click import ClickException
from kombu.entity import Exchange, Queue

from nexusflow.log import configure_logging, get_logger
from nexusflow.queues import QUEUES
from nexusflow.settings import get_settings

log = get_logger(__name__)
DEAD_DELIVERIES = 1_000_000_000
"""How often a dead letter may be read and left where it is. RabbitMQ 4 would drop it after 20 times."""


class Loader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Imports the installed modules, whatever lies in the folder that a command is typed in (a tasks.py, say)."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> ModuleType:
        """Import a module from where Python finds it."""
        return importlib.import_module(module, package)

    def on_worker_init(self) -> None:
        """Before a worker or beat begins: without its servers it could only wait, and at a stranger's broker."""
        settings = get_settings()
        named = {"NEXUSFLOW_DATABASE_URL": settings.database_url, "NEXUSFLOW_BROKER_URL": settings.broker_url}
        missing = " and ".join(name for name, value in named.items() if value is None)
        if missing:
            raise ClickException(f"{missing} not set. Set them as for every process of the cluster (docs/running.md).")


class NexusCelery(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery with workers that know the queues."""

    @cached_property
    def Worker(self) -> type:  # noqa: N802 - Celery's name for it
        """The class of ``celery -A nexusflow worker``."""
        made: type = self.subclass_with_self("nexusflow.workers.command:Worker")
        return made


app = NexusCelery("nexusflow", config_source="celeryconfig", loader=Loader)


FLOWER_COLUMNS = "name,state,args,result,received,runtime,worker,uuid"


def _choose_flowers_columns() -> None:
    """Flower's list of tasks shows no arguments by default, and they say which tenant, run and step it is.

    Flower reads its variables, its file and its flags later, so that each of them wins.
    """
    if "flower.options" in sys.modules:
        from tornado.options import options  # noqa: PLC0415 - where Flower is, Tornado is

        options.tasks_columns = FLOWER_COLUMNS


_choose_flowers_columns()


class DeadLetters(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Declares the dead-letter queues whenever a worker connects: without them at-least-once dead letters wait."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Any) -> None:
        """Declare each queue's dead-letter exchange and queue on RabbitMQ; Redis brokers have no dead letters."""
        if consumer.connection.transport.driver_type != "amqp":
            return
        for spec in QUEUES:
            exchange = Exchange(spec.dead, type="direct", durable=True)  # type: ignore[no-untyped-call]
            arguments = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERIES}
            dead = Queue(  # type: ignore[no-untyped-call]
                spec.dead, exchange, spec.dead, durable=True, queue_arguments=arguments
            )
            with consumer.connection.channel() as channel:
                try:
                    dead.bind(channel).declare()  # type: ignore[no-untyped-call]
                except consumer.connection.channel_errors as error:
                    # It is there with other arguments, which only its owner may change.
                    log.warning("dead_letters.not_declared", queue=spec.dead, error=str(error))


app.steps["consumer"].add(DeadLetters)


def _on_start(**_: Any) -> None:
    configure_logging()


signals.worker_init.connect(_on_start)
signals.beat_init.connect(_on_start)


class TenantTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task whose first argument is a tenant's id: it refuses to run without one."""

    abstract = True
    Request = "nexusflow.workers.requests:ShownRequest"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task's function; a message without a tenant goes to the dead letters."""
        if not args or not isinstance(args[0], str) or not args[0]:
            raise Reject(f"{self.name}: the first argument must be a tenant's id", requeue=False)
        return super().__call__(*args, **kwargs)


def tenant_task(*, name: str) -> Callable[[Callable[..., Any]], Any]:
    """Register ``function(task, tenant, …)`` as a task, under a name that brokers keep.

    Celery's own decorator swallows options it does not know; this one has only those that mean something here.
    """

    def register(function: Callable[..., Any]) -> Any:
        return app.task(
            function, name=name, bind=True, base=TenantTask, acks_late=False, ignore_result=True, shared=False
        )

    return register
