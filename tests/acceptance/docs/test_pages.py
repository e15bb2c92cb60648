"""Every page is followed in a clean clone: each command, each program, each file, each output that is shown."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.docs.blocks import ROOT
from tests.acceptance.docs.reader import Reader, stand_ins_of
from tests.acceptance.docs.terminal import Staying
from tests.servers.postgres import PostgresServer
from tests.servers.server import HOST, free_port

if TYPE_CHECKING:
    from tests.servers.rabbitmq import RabbitMQServer
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.timeout(240)


def follow(reader: Reader) -> None:
    try:
        reader.follow()
    finally:
        reader.close()


def test_the_quick_start_comes_true(clone: Path, request: pytest.FixtureRequest) -> None:
    follow(Reader("quickstart", clone, {}, lambda: request.getfixturevalue("up")))


@pytest.mark.parametrize("page", ["tour", "testing", "api", "operating"])
def test_the_page_comes_true(page: str, clone: Path, up: Staying) -> None:
    reader = Reader(page, clone, {}, lambda: up)
    reader.join(up)
    follow(reader)


def test_every_metric_that_is_named_is_there(up: Staying) -> None:
    address = stand_ins_of(up)["http://127.0.0.1:8080"]
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        there = set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE))
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(nexusflow_[a-z_]+)", page))
    assert len(named) > 5
    assert named <= there


@pytest.fixture
def servers(rabbitmq: "RabbitMQServer", redis: "RedisServer") -> Iterator[dict[str, str]]:
    """Private servers for the addresses that the page writes; the page sets passwords in PostgreSQL, so it gets one."""
    postgres = PostgresServer()
    postgres.start()
    for name in ("nexusflow", "nexusflow_copy"):
        postgres.create_database(name)
    flower = free_port()
    yield {
        "@db.example.com/": f"@{HOST}:{postgres.port}/",
        "amqp://nexusflow:mq-password@mq.example.com/nexusflow": rabbitmq.fresh_url(),
        "redis://:cache-password@cache.example.com/0": redis.url,
        # Whatever runs on this machine may have the ports that the page names.
        "--port 8090": f"--port {free_port()}",
        "nexusflow flower\n": f"nexusflow flower --port={flower}\n",
        "http://127.0.0.1:5555": f"http://127.0.0.1:{flower}",
    }
    postgres.kill()


def test_the_page_on_servers_of_ones_own_comes_true(
    clone: Path, servers: dict[str, str], request: pytest.FixtureRequest
) -> None:
    follow(Reader("running", clone, servers, lambda: request.getfixturevalue("up")))
