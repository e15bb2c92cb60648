"""The processes of a cluster: the web front end, one worker pool a queue, and beat.

The repository's Procfile holds the same lines (``python -m nexusflow.embedded.procfile`` prints them); they are made
here so that an installed package has them too.
"""

import shlex
import sys

from nexusflow.queues import QUEUES

WEB = "web"
WEB_APP = "api.app:create_app"
WEB_HTTP = "api.connections:Connection"
"""uvicorn's side of a connection, which waits for a request's head for a while and not for ever."""
WEB_PORT = 8080
WEB_GRACE = 10
"""Seconds that a front end which was told to stop gives the requests it is at."""
WEB_IDLE = 75
"""Seconds that an idle connection is kept: longer than gateways keep theirs, so that none sends into a closing one."""
BEAT_SCHEDULER = "beat.scheduler:DispatchScheduler"
# Without its heartbeat a worker sends no events at all, and Flower would see neither it nor its tasks.
_QUIET = "--without-gossip --without-mingle --heartbeat-interval 5"


def processes() -> dict[str, str]:
    """Each process's name and its command line."""
    web = (
        f"uvicorn {WEB_APP} --factory --host 127.0.0.1 --port {WEB_PORT} --http {WEB_HTTP}"
        f" --no-access-log --no-server-header --timeout-keep-alive {WEB_IDLE} --timeout-graceful-shutdown {WEB_GRACE}"
    )
    return {WEB: web} | celery_processes()


def celery_processes() -> dict[str, str]:
    """The processes that a run needs: the workers and beat."""
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
