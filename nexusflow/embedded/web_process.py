"""The web front end as a process of the cluster: uvicorn on a socket that its supervisor holds.

The supervisor keeps the socket while the process is started again: who connects meanwhile waits, and is served.
"""

import argparse
import contextlib
import importlib
import socket
import sys

from nexusflow.embedded.procfile import WEB_APP, WEB_GRACE, WEB_HTTP, WEB_IDLE
from nexusflow.settings import use_settings

MODULES = (
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    WEB_HTTP.partition(":")[0],
    WEB_APP.partition(":")[0],
)
"""What the front end imports until it is ready; none of them reads the settings when it is imported."""


def preload() -> None:
    """Import it all, once. What cannot be imported is for the process itself to tell."""
    with contextlib.suppress(Exception):
        for name in MODULES:
            importlib.import_module(name)


def run(grace: int = WEB_GRACE) -> int:
    """Serve the socket that is this process's standard input until told to stop."""
    import uvicorn  # noqa: PLC0415 - the supervisor imports this file first

    use_settings(None)  # those of this process's environment, whatever was read before the fork
    config = uvicorn.Config(
        WEB_APP,
        factory=True,
        http=WEB_HTTP,
        access_log=False,
        server_header=False,
        timeout_keep_alive=WEB_IDLE,
        timeout_graceful_shutdown=grace,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=0)])
    return 0 if server.started else 3


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grace", type=int, default=WEB_GRACE)
    sys.exit(run(parser.parse_args().grace))
