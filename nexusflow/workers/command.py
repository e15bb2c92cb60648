"""``celery -A nexusflow worker``: what its flags leave open, and what its signals mean."""

import signal
from typing import Any

import click
from billiard.process import current_process
from celery import concurrency
from celery.apps.worker import Worker as CeleryWorker
from click.core import ParameterSource

from nexusflow.queues import QUEUE_NAMES, pool_for
from nexusflow.workers.draining import drain
from nexusflow.workers.names import free_name

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
_NAMELESS = "celery"
"""What Celery calls a worker that was given no name."""


class Worker(CeleryWorker):  # type: ignore[misc]  # Celery has no types
    """A worker with the pool, the concurrency and the name that suit its queues, where no flag gives them."""

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:
        queues = serves(options.get("queues"), options.get("exclude_queues"))
        unknown = [name for name in queues if name not in QUEUE_NAMES]
        if unknown:
            raise click.BadParameter(
                f"there is no queue '{unknown[0]}', only {', '.join(QUEUE_NAMES)}.", param_hint="-Q"
            )
        pool, slots = pool_for(queues)
        typed = _typed_options()
        if "pool" not in typed:
            options["pool"] = concurrency.get_implementation(pool)
        if "concurrency" not in typed and not options.get("autoscale"):
            options["concurrency"] = slots
        name, _, host = (hostname or "").partition("@")
        if name in ("", _NAMELESS):
            name = "-".join(queues) if len(queues) < len(QUEUE_NAMES) else "worker"
        self.served = queues
        # RabbitMQ gives a name's own queue to one worker, and each other of that name would end again and again.
        super().__init__(app, free_name(name, host), **options)

    def install_platform_tweaks(self, worker: Any) -> None:
        """Celery's signal handlers, and before them ours: the second request to end is the last one."""
        super().install_platform_tweaks(worker)
        for number in (signal.SIGTERM, signal.SIGINT):
            warm = signal.getsignal(number)
            signal.signal(number, lambda given, frame, warm=warm: _end(given, frame, warm))  # type: ignore[misc]
        signal.signal(signal.SIGQUIT, lambda given, frame: _end(given, frame, None))


def _end(number: int, frame: Any, warm: Any) -> None:
    if current_process().name != "MainProcess":
        return
    if warm is None or drain.is_asked:
        drain.cut_short()
    else:
        drain.ask()
        warm(number, frame)


def serves(included: Any, excluded: Any = None) -> list[str]:
    """The queues that ``-Q`` and ``-X`` leave (lists, or texts with commas): all of them where nothing is said."""
    wanted, unwanted = (_listed(value) for value in (included, excluded))
    return [name for name in (wanted or QUEUE_NAMES) if name not in unwanted]


def _listed(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else list(value or ())
    return [part.strip() for part in parts if part.strip()]


def _typed_options() -> set[str]:
    """The options that whoever started the worker gave."""
    context = click.get_current_context(silent=True)
    if context is None:
        return set()
    return {name for name in context.params if context.get_parameter_source(name) in _TYPED}
