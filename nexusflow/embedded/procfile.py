"""The processes of a cluster: one worker pool a queue, and beat. ``python -m nexusflow.embedded.procfile`` prints them.

The repository's Procfile holds the same lines; they are made here so that an installed package has them too.
"""

import shlex
import sys

from nexusflow.queues import QUEUES

BEAT_SCHEDULER = "beat.scheduler:DispatchScheduler"
_QUIET = "--without-gossip --without-mingle --without-heartbeat"


def processes() -> dict[str, str]:
    """Each process's name and its command line."""
    lines = {
        queue.name: (
            f"celery -A nexusflow worker -Q {queue.name} -n {queue.name}@%h --pool {queue.pool}"
            f" --concurrency {queue.concurrency} {_QUIET} --loglevel INFO"
        )
        for queue in QUEUES
    }
    lines["beat"] = f"celery -A nexusflow beat -S {BEAT_SCHEDULER} --pidfile= --loglevel INFO"
    return lines


def arguments(command: str) -> list[str]:
    """What comes after ``celery -A nexusflow`` in the command."""
    words = shlex.split(command)
    if words[:3] != ["celery", "-A", "nexusflow"]:
        raise ValueError(f"not one of this cluster's commands: {command}")
    return words[3:]


def text() -> str:
    """The Procfile."""
    return "".join(f"{name}: {command}\n" for name, command in processes().items())


if __name__ == "__main__":
    sys.stdout.write(text())
