"""The local vendors as one server process of the embedded cluster."""

import contextlib
import json
import os
import sys
import time

from nexusflow.embedded.children import Child
from nexusflow.embedded.home import Home
from nexusflow.embedded.vendors.connections import connections_for
from nexusflow.errors import ClusterUnusable

START_SECONDS = 30.0


class VendorServer:
    """The process that plays OpenAI, HubSpot, S3 and a mail server."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._port_file = home.run / "vendors.json"
        self._child: Child | None = None
        self.ports: dict[str, int] = {}

    @property
    def child(self) -> Child:
        """The server's process."""
        if self._child is None:
            raise RuntimeError("the vendors were not started yet")
        return self._child

    @property
    def port(self) -> int:
        """The port of the vendors' HTTP interfaces; 0 before the start."""
        return self.ports.get("http", 0)

    def connections(self) -> dict[str, dict[str, str]]:
        """Settings for one connection a vendor."""
        return connections_for(self.ports)

    def launch(self, port: int | None = None) -> None:
        """Start the process without waiting for it, at the ports it had before, or at free ones."""
        self._port_file.unlink(missing_ok=True)
        self._child = Child(
            "vendors",
            [
                *(sys.executable, "-m", "nexusflow.embedded.vendors"),
                *("--directory", str(self._home.path / "vendors"), "--port-file", str(self._port_file)),
                *("--port", str(port or 0), "--smtp-port", str(self.ports.get("smtp", 0))),
            ],
            log=self._home.logs / "vendors.log",
            env=dict(os.environ),
            cwd=self._home.run,
        )
        self._child.start()

    def wait_ready(self) -> None:
        """Wait until the vendors answer. Raises ClusterUnusable."""
        deadline = time.monotonic() + START_SECONDS
        while not self._read_ports():
            if not self.child.is_alive or time.monotonic() > deadline:
                why = self.child.complaint() or f"no answer within {START_SECONDS:.0f} s"
                self.child.kill()
                raise ClusterUnusable(
                    f"The local vendors did not start: {why}", "Look into vendors.log in the home's log folder."
                )
            time.sleep(0.02)

    def stop(self, grace: float = 3.0) -> None:
        """End the process."""
        if self._child is not None:
            self._child.stop(grace)

    def _read_ports(self) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            told = json.loads(self._port_file.read_text())
            if told["pid"] == self.child.pid:
                self.ports = {"http": told["http"], "smtp": told["smtp"]}
                return True
        return False
