"""The command line on a cluster that is configured: RabbitMQ, PostgreSQL, and workers that someone else started."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.cli.conftest import CommandLine
from tests.acceptance.cli.test_clusters import ONE
from tests.acceptance.cli.test_run import GREET
from tests.integration.cluster import Cluster
from tests.servers.databases import make_database

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer
    from tests.servers.rabbitmq import RabbitMQServer


@pytest.fixture
def cluster(postgres: "PostgresServer", rabbitmq: "RabbitMQServer") -> Iterator[Cluster]:
    made = Cluster(make_database(postgres), rabbitmq.fresh_url())
    yield made
    made.stop()


@pytest.fixture
def configured(cluster: Cluster, lonely: CommandLine) -> CommandLine:
    lonely.more = {name: value for name, value in cluster.environment().items() if name.startswith("NEXUSFLOW_")}
    return lonely


def test_a_run_on_a_configured_cluster(cluster: Cluster, configured: CommandLine) -> None:
    cluster.worker()
    cluster.beat()
    cluster.wait_ready()
    configured.write("greet.yaml", GREET)
    configured.write("words.csv", "word\nred\n")
    done = configured("run", "greet.yaml", "-i", "file=@words.csv", "--json")
    assert done.code == 0, done.err
    assert done.json["output"]["words"] == ["RED"]
    assert configured("runs", "show", done.json["run_id"], "--json").json["status"] == "succeeded"
    assert not configured.home.exists(), "nothing embedded was started"
    diagnosis = configured("doctor", "--json")
    found = {each["name"]: each for each in diagnosis.json["findings"]}
    assert diagnosis.code == 0, diagnosis.out
    assert found["broker"]["message"].startswith("RabbitMQ at ")
    for queue in ("workflow", "integration", "notification"):
        assert found[f"queue {queue}"]["level"] == "ok"
    assert found["connection openai"]["level"] == "warn"
    assert "nexusflow_app" in found["database"]["message"]
    assert "-password" not in diagnosis.out


def test_without_workers_it_says_that_nothing_moves(cluster: Cluster, configured: CommandLine) -> None:
    configured.write("one.yaml", ONE)
    command = configured.start("run", "one.yaml")
    command.until_it_says("Nothing has moved for 30 s.")
    assert "nexusflow doctor" in command.said()
    diagnosis = configured("doctor", "--json")
    found = {each["name"]: each for each in diagnosis.json["findings"]}
    assert found["queue workflow"]["level"] == "warn"
    command.process.kill()
    command.process.wait()
