"""``celery -A nexusflow worker``: what its flags leave open, and what its signals mean."""

import hashlib
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import click
from billiard.process import current_process
from celery import concurrency
from celery.apps.worker import Worker as CeleryWorker
from click.core import ParameterSource

from nexusflow.embedded.locks import FileLock
from nexusflow.errors import NexusError
from nexusflow.queues import QUEUE_NAMES, pool_for
from nexusflow.settings import get_settings
from nexusflow.workers.draining import drain

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
_NAMELESS = "celery"
"""What Celery calls a worker that was given no name."""
MOST_TWINS = 1000
_names: list[FileLock] = []


class Worker(CeleryWorker):  # type: ignore[misc]  # Celery has no types
    """A worker with the pool, the concurrency and the name that suit its queues, where no flag gives them."""

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:
        queues = serves(options.get("queues"), options.get("exclude_queues"))
        pool, slots = pool_for(queues)
        typed = _typed_options()
        if "pool_cls" not in typed:
            options["pool_cls"] = concurrency.get_implementation(pool)
        if "concurrency" not in typed and not options.get("autoscale"):
            options["concurrency"] = slots
        name, _, host = (hostname or "").partition("@")
        if name in ("", _NAMELESS):
            hostname = free_name("-".join(queues) if len(queues) < len(QUEUE_NAMES) else "worker", host)
        self.served = queues
        super().__init__(app, hostname, **options)

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


def free_name(kind: str, host: str = "") -> str:
    """A node name that no other worker of this cluster has on this machine: integration@host, integration-2@host …

    A lock on a file holds the name for as long as the process lives, however it ends.
    """
    host = host or socket.gethostname()
    broker = get_settings().broker_url
    cluster = hashlib.sha256(broker.get_secret_value().encode() if broker else b"").hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"nexusflow-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            return f"{kind}@{host}"
        for number in range(1, MOST_TWINS):
            name = f"{kind}@{host}" if number == 1 else f"{kind}-{number}@{host}"
            lock = FileLock(folder / f"{cluster}-{name}.lock")
            if lock.acquire(shared=False):
                _names.append(lock)
                return name
    except (OSError, NexusError):
        pass  # a name is not worth a worker
    return f"{kind}-{os.getpid()}@{host}"
