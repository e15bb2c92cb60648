"""Messages that no task can be made of: they end among the dead letters, whole, and the worker goes on."""

import json
import uuid
from typing import Any

import amqp  # type: ignore[import-untyped]
import pytest

from tests.integration.cluster import Cluster
from tests.integration.workflows.steps import transform

JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
TASK = "tasks.workflow.run_segment"
IDS = [str(uuid.uuid4()), str(uuid.uuid4())]


def headers(task: str = TASK) -> dict[str, Any]:
    return {"task": task, "id": str(uuid.uuid4()), "lang": "py", "argsrepr": "", "kwargsrepr": ""}


def body(*arguments: Any, words: Any = None) -> bytes:
    return json.dumps([list(arguments), words or {}, {}]).encode()


BAD: dict[str, amqp.Message] = {
    "undecodable": amqp.Message(b"\xff\xfe{", application_headers=headers(), **JSON),
    "pickled": amqp.Message(
        b"cos\nsystem\n", content_type="application/x-python-serialize", application_headers=headers()
    ),
    "compressed": amqp.Message(b"junk", application_headers={**headers(), "compression": "gzip"}, **JSON),
    "unknown task": amqp.Message(body(*IDS, 0), application_headers=headers("tasks.workflow.gone"), **JSON),
    "no headers": amqp.Message(b'{"task": "old"}', **JSON),
    "old protocol": amqp.Message(json.dumps({"task": TASK, "id": "1", "args": IDS, "kwargs": {}}).encode(), **JSON),
    "no list": amqp.Message(b"null", application_headers=headers(), **JSON),
    "fewer arguments": amqp.Message(body(IDS[0]), application_headers=headers(), **JSON),
    "more arguments": amqp.Message(body(*IDS, 0, "", 0, 9), application_headers=headers(), **JSON),
    "named arguments": amqp.Message(body(*IDS, 0, words={"lane": 1}), application_headers=headers(), **JSON),
    "other types": amqp.Message(body(*IDS, "0"), application_headers=headers(), **JSON),
    "no ids": amqp.Message(body("tenant", "run", 0), application_headers=headers(), **JSON),
}


def raw(message: amqp.Message) -> bytes:
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)


@pytest.fixture
def channel(cluster: Cluster) -> Any:
    host, _, vhost = cluster.broker.removeprefix("amqp://guest:guest@").partition("/")
    with amqp.Connection(host, virtual_host=vhost, confirm_publish=True) as connection:
        yield connection.channel()


def test_what_cannot_be_a_task_ends_among_the_dead_letters(cluster: Cluster, channel: Any) -> None:
    channel.queue_purge("workflow.dead")
    for message in BAD.values():
        channel.basic_publish(message, exchange="workflow", routing_key="workflow")
    wanted = sorted(raw(message) for message in BAD.values())
    dead: list[bytes] = []

    def arrived() -> bool:
        while (letter := channel.basic_get("workflow.dead", no_ack=True)) is not None:
            dead.append(raw(letter))
        return len(dead) >= len(BAD)

    cluster.until(arrived, "all are dead letters")
    assert sorted(dead) == wanted
    assert cluster.run([transform("a", jq="1 + 1")]).output == 2


def test_a_task_of_a_run_that_is_not_there_is_no_dead_letter(cluster: Cluster, channel: Any) -> None:
    channel.basic_publish(
        amqp.Message(body(*IDS, 0), application_headers=headers(), **JSON), exchange="workflow", routing_key="workflow"
    )
    cluster.run([transform("a", jq="1")])
    assert channel.basic_get("workflow.dead", no_ack=True) is None
