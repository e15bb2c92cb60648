"""``nexusflow up``: one command, a cluster with its front end in the foreground, on embedded or configured servers."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from nexusflow.embedded.cluster import find
from nexusflow.embedded.home import Home
from nexusflow.embedded.ports import free_port
from nexusflow.embedded.procfile import WEB_PORT, processes
from tests.acceptance.cli.conftest import WAIT_SECONDS, CommandLine, Done, Running
from tests.acceptance.cli.test_clusters import ONE, _processes_of
from tests.servers.databases import RUNTIME_PASSWORD, make_database

if TYPE_CHECKING:
    from tests.integration.vendor import Vendor
    from tests.servers.postgres import PostgresServer
    from tests.servers.rabbitmq import RabbitMQServer
    from tests.servers.redis import RedisServer

SLOW = """\
nexusflow: "1"
name: slow
input: {{ schema: {{ type: object, properties: {{ sleep: {{ type: number }} }} }} }}
steps:
  - id: call
    type: http.request
    with: {{ method: POST, url: "{url}", body: {{ sleep: "${{{{ input.sleep }}}}", answer: 1 }} }}
"""


@dataclass
class Up:
    """A running ``nexusflow up --json``."""

    command: Running
    url: str
    key: str

    @classmethod
    def of(cls, command: Running) -> "Up":
        assert command.process.stdout is not None
        line = command.process.stdout.readline()
        assert line, command.said()
        told = json.loads(line)
        assert list(told) == ["url", "api_key"]
        return cls(command, told["url"], told["api_key"])

    def ask(self, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        """The status and the body of an answer."""
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    def result(self, workflow: str, given: dict[str, Any]) -> Any:
        """Start a run and wait for it."""
        status, body = self.ask(f"/v2/workflows/{workflow}/run?wait=20", {"input": given})
        assert status in (200, 202), body
        assert body["data"]["status"] == "succeeded", body
        return body["data"]["output"]

    def end(self, number: signal.Signals = signal.SIGINT) -> Done:
        """Stop it and see that it ends well, with nothing more on its standard output."""
        self.command.signal(number)
        done = self.command.done()
        assert (done.code, done.out) == (0, ""), done.err
        return done


def _hello(up: Up) -> str:
    _, body = up.ask("/v2/workflows")
    return str(next(each["id"] for each in body["data"] if each["name"] == "hello"))


@pytest.mark.timeout(240)
def test_a_cluster_in_the_foreground(lonely: CommandLine, vendor: "Vendor") -> None:
    port = free_port()
    up = Up.of(lonely.start("up", "--json", "--port", str(port)))
    assert up.url == f"http://127.0.0.1:{port}"
    key_file = Home(lonely.home).key_file
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert up.ask("/v2/runs")[0] == 200
    assert up.ask("/v2/runs", key="nxf_wrong")[0] == 401
    assert up.result(_hello(up), {"who": "Ada"}) == "Hello, Ada!"

    lonely.write("one.yaml", ONE)
    assert lonely("run", "one.yaml", "--json").json["output"] == 42, "it joins the cluster"
    another = lonely("up")
    assert another.code == 3
    assert f"Another nexusflow up serves {lonely.home} on port {port}." in another.err

    info = find(Home(lonely.home))
    assert info is not None
    assert set(processes()) <= set(info.pids)
    psutil.Process(info.pids["web"]).kill()
    assert up.ask("/v2/runs")[0] == 200, "who comes meanwhile waits"
    up.command.until_it_says("Web ended unexpectedly (SIGKILL), starting it again")
    psutil.Process(info.pids["supervisor"]).kill()
    up.command.until_it_says("The cluster is back.")
    assert up.result(_hello(up), {}) == "Hello, world!"

    _, body = up.ask("/v2/workflows", {"source": SLOW.format(url=vendor.url), "publish": True})
    slow = body["data"]["id"]
    run = _start(up, slow, {"sleep": 2}, vendor)
    done = up.end(signal.SIGTERM)
    assert "Waiting for 1 running step, " in done.err, "a step that runs may end"
    assert done.err.endswith("Stopped. What was recorded is kept.\n")
    assert not _processes_of(lonely.home)

    again = _again(lonely, up.key, run, vendor)
    _start(again, slow, {"sleep": 30}, vendor)
    began = time.monotonic()
    again.command.signal(signal.SIGINT)
    again.command.until_it_says("Waiting for 1 running step, ")
    again.end()
    assert time.monotonic() - began < 10, "a second Ctrl-C waits for nothing"
    assert not _processes_of(lonely.home)


def _again(lonely: CommandLine, key: str, run: str, vendor: "Vendor") -> Up:
    """Started again it has the same key and data, and what a step did while the cluster ended."""
    with ExitStack() as stack:
        with suppress(OSError):  # somebody else's already
            stack.enter_context(socket.create_server(("127.0.0.1", WEB_PORT)))
        again, tries = _told(lonely.start("up"))
    assert f"Port {WEB_PORT} is taken, so it is {again.url.rpartition(':')[2]}." in again.command.said()
    assert again.key == key
    _, body = again.ask("/v2/runs")
    assert sorted(each["workflow"] for each in body["data"]) == ["hello", "hello", "one", "slow"]
    _, body = again.ask(f"/v2/runs/{run}/steps")
    assert [step["state"] for step in body["data"]] == ["succeeded"]
    assert len(vendor.of(run)) == 1
    _try(lonely, tries)
    return again


def _told(command: Running) -> tuple[Up, list[str]]:
    """What people are told once it is ready, and the commands they may try."""
    assert command.process.stdout is not None
    lines = []
    while not (lines and lines[-1].startswith("Ctrl-C stops it")):
        lines.append(command.process.stdout.readline())
        assert lines[-1], command.said()
    text = "".join(lines)
    (url,) = re.findall(r"^NexusFlow is up at (\S+)$", text, re.MULTILINE)
    (key,) = re.findall(r"^API key: (nxf_\S+)$", text, re.MULTILINE)
    return Up(command, url, key), [line.strip() for line in lines if re.match(r"  [^#]", line)]


def _try(lonely: CommandLine, tries: list[str]) -> None:
    """They work when they are pasted in another terminal."""
    assert len(tries) == 3
    clean = {name: value for name, value in lonely.environment().items() if name != "NEXUSFLOW_HOME"}
    for line in tries[:2]:
        done = subprocess.run(  # noqa: S602 - what people would paste
            line, shell=True, cwd=lonely.folder, env=clean, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Hello, Ada!" in done.stdout
    assert shlex.split(tries[2])


def _start(up: Up, workflow: str, given: dict[str, Any], vendor: "Vendor") -> str:
    """Start a run, and wait until its step is under way."""
    status, body = up.ask(f"/v2/workflows/{workflow}/run", {"input": given})
    assert status == 202, body
    run = str(body["data"]["id"])
    deadline = time.monotonic() + WAIT_SECONDS
    while not vendor.of(run):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return run


def test_a_port_that_is_taken_is_said_before_anything_starts(lonely: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = lonely("up", "--json", "--port", str(port))
    assert done.code == 3
    assert done.json["error"]["message"] == f"Port {port} of 127.0.0.1 cannot be listened on: address already in use."
    assert not lonely.home.exists()
    assert lonely("up", "--host", "no.such.host.invalid").code == 3
    assert lonely("up", "--upgrade").code == 2
    lonely.more = {"NEXUSFLOW_BROKER_URL": "amqp://127.0.0.1:1//"}
    assert "NEXUSFLOW_BROKER_URL is set, and NEXUSFLOW_DATABASE_URL is missing." in lonely("up").err


@pytest.fixture
def configured(
    lonely: CommandLine, postgres: "PostgresServer", rabbitmq: "RabbitMQServer", redis: "RedisServer"
) -> Iterator[CommandLine]:
    """Three settings: a database that is not set up, a broker and a cache."""
    database = make_database(postgres)  # for the roles, which belong to the whole server
    postgres.drop_database(database.name)
    owner = postgres.create_database(name := f"up_{uuid.uuid4().hex[:8]}")
    lonely.more = {
        "NEXUSFLOW_DATABASE_URL": postgres.url_of(name, "nexusflow_app", RUNTIME_PASSWORD),
        "NEXUSFLOW_BROKER_URL": rabbitmq.fresh_url(),
        "NEXUSFLOW_REDIS_URL": redis.url,
        "OWNER": owner,
    }
    yield lonely
    postgres.drop_database(name)


def test_on_servers_of_ones_own(configured: CommandLine) -> None:
    owner = configured.more.pop("OWNER")
    refused = configured("up")
    assert refused.code == 3
    assert "The schema is not there" in refused.err
    assert "nexusflow db upgrade with NEXUSFLOW_OWNER_DATABASE_URL" in refused.err
    configured.more["NEXUSFLOW_OWNER_DATABASE_URL"] = owner
    up = Up.of(configured.start("up", "--json", "--upgrade", "--port", str(free_port())))
    home = Home(configured.home).on_servers
    info = find(home)
    assert info is not None
    assert set(info.pids) == {"supervisor", *processes()}, "no servers"
    assert not (home.path / "secrets.json").exists()
    for pid in info.pids.values():
        assert owner not in psutil.Process(pid).environ().values()
    _, body = up.ask("/v2/workflows", {"source": ONE, "publish": True})
    workflow = body["data"]["id"]
    assert up.result(workflow, {}) == 42
    for name in ("workflow", "beat"):
        os.kill(info.pids[name], signal.SIGKILL)
    up.command.until_it_says("Beat runs again")
    up.command.until_it_says("Workflow runs again")
    assert up.result(workflow, {}) == 42
    up.end(signal.SIGTERM)
    assert not _processes_of(configured.home)
