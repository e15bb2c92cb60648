"""The local vendors as one process for a session, and a step's context that leads there."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from nexusflow.connectors.base import StepContext
from nexusflow.embedded.vendors import connections_for


@dataclass
class Vendors:
    """The running doubles, seen from the vendors' side."""

    directory: Path
    ports: dict[str, int]

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    def fault(self, vendor: str, kind: str, **more: Any) -> None:
        httpx2.post(f"{self.root}/_faults", json={"vendor": vendor, "kind": kind, **more}).raise_for_status()

    def calls(self, vendor: str, operation: str, key: str = "") -> list[dict[str, Any]]:
        query = {"vendor": vendor, "operation": operation}
        found: list[dict[str, Any]] = httpx2.get(f"{self.root}/_calls", params=query).json()
        return [call for call in found if key in ("", call["idempotency_key"])]

    def context(self, connection: str, seconds: float = 10.0, **changes: str) -> StepContext:
        values = {**connections_for(self.ports).get(connection, {}), **changes}
        return make_context(connection, values, seconds)


def make_context(
    connection: str, values: dict[str, str], seconds: float = 10.0, allow: str = "loopback"
) -> StepContext:
    run = str(uuid.uuid4())
    return StepContext(
        tenant_id="local",
        run_id=run,
        step="step",
        item="",
        attempt=1,
        idempotency_key=f"{run}/step/0",
        deadline=time.monotonic() + seconds,
        connection_name=connection,
        connection={name: value for name, value in values.items() if value},
        allow_private_addresses=allow,
    )


@contextlib.contextmanager
def run_vendors(directory: Path, *more: str) -> Iterator[tuple[Vendors, "subprocess.Popen[bytes]"]]:
    port_file = directory / f"ports-{uuid.uuid4().hex}.json"
    command = [sys.executable, "-m", "nexusflow.embedded.vendors", "--directory", str(directory / "vendors")]
    process = subprocess.Popen([*command, "--port-file", str(port_file), *more])
    try:
        until = time.monotonic() + 20
        while not port_file.exists():
            assert process.poll() is None, f"the vendors ended with {process.returncode}"
            assert time.monotonic() < until, "the vendors did not start"
            time.sleep(0.01)
        yield Vendors(directory / "vendors", json.loads(port_file.read_text())), process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@pytest.fixture(scope="session")
def _vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    with run_vendors(tmp_path_factory.mktemp("vendors")) as (vendors, _):
        yield vendors


@pytest.fixture
def vendors(_vendors: Vendors) -> Iterator[Vendors]:
    yield _vendors
    httpx2.delete(f"{_vendors.root}/_faults").raise_for_status()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
