"""Node names: no two processes of a cluster have the same one on a machine, whatever starts them."""

import hashlib
import os
import socket
import tempfile
from pathlib import Path

from nexusflow.embedded.locks import FileLock
from nexusflow.errors import NexusError
from nexusflow.settings import get_settings

MOST_TWINS = 1000
_names: list[FileLock] = []


def free_name(kind: str, host: str = "") -> str:
    """A node name that no other worker of this cluster has on this machine: integration@host, integration-2@host …

    A lock on a file holds the name for as long as the process lives, however it ends.
    """
    host = host or socket.gethostname()
    try:
        for number in range(1, MOST_TWINS):
            name = f"{kind}@{host}" if number == 1 else f"{kind}-{number}@{host}"
            if _take(name):
                return name
    except (OSError, NexusError):
        pass  # a name is not worth a worker
    return f"{kind}-{os.getpid()}@{host}"


def _take(name: str) -> bool:
    """Lock the name's file, which names the cluster by its broker. Raises OSError where there is no place for it."""
    broker = get_settings().broker_url
    cluster = hashlib.sha256(broker.get_secret_value().encode() if broker else b"").hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"nexusflow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another account's")
    lock = FileLock(folder / f"{cluster}-{name}.lock")
    is_free = lock.acquire(shared=False)
    if is_free:
        _names.append(lock)
    return is_free
