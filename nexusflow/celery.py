"""The Celery app, and the one decorator that makes its tasks."""

from collections.abc import Callable
from typing import Any

from celery import Celery, Task, bootsteps, signals
from celery.exceptions import Reject
from kombu.entity import Exchange, Queue

from nexusflow.log import configure_logging
from nexusflow.queues import QUEUES

app = Celery("nexusflow", config_source="celeryconfig")


class DeadLetters(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Declares the dead-letter queues whenever a worker connects: without them at-least-once dead letters wait."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Any) -> None:
        """Declare each queue's dead-letter exchange and queue on RabbitMQ; Redis brokers have no dead letters."""
        if consumer.connection.transport.driver_type != "amqp":
            return
        for spec in QUEUES:
            exchange = Exchange(spec.dead, type="direct", durable=True)  # type: ignore[no-untyped-call]
            dead = Queue(  # type: ignore[no-untyped-call]
                spec.dead, exchange, spec.dead, durable=True, queue_arguments={"x-queue-type": "quorum"}
            )
            dead.bind(consumer.connection.default_channel).declare()  # type: ignore[no-untyped-call]


app.steps["consumer"].add(DeadLetters)


def _on_start(**_: Any) -> None:
    configure_logging()


signals.worker_init.connect(_on_start)
signals.beat_init.connect(_on_start)


class TenantTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task whose first argument is a tenant's id: it refuses to run without one."""

    abstract = True

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
