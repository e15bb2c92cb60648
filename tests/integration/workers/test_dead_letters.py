"""Dead letters: read and left where they are, sent back, dropped; also when this happens is cut off in the middle."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import amqp  # type: ignore[import-untyped]
import pytest

from nexusflow.errors import InvalidInput
from nexusflow.operations import dead_letters
from nexusflow.operations.dead_letters import Letters, drop, queue_named, read_letters, redrive
from nexusflow.operations.metrics import render
from nexusflow.operations.queues import read_queues
from tests.integration.cluster import Cluster

JSON = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2}
RUN = str(uuid.uuid4())


@pytest.fixture
def letters(cluster: Cluster) -> Iterator[list[str]]:
    """Three dead letters of the notification queue: one of a run, one unreadable, one of nothing known; their ids."""
    host, _, vhost = cluster.broker.removeprefix("amqp://guest:guest@").partition("/")
    body = json.dumps([[str(cluster.tenant), RUN, 0], {}, {}])
    headers = {"task": "tasks.notification.run_segment", "id": "first"}
    bad: list[tuple[Any, dict[str, Any]]] = [
        (body.replace("0]", '"0"]'), headers),
        (b"\xff\xfe{", {**headers, "id": "second"}),
        (b"{}", {}),
    ]
    with amqp.Connection(host, virtual_host=vhost, confirm_publish=True) as connection, cluster.active():
        channel = connection.channel()
        channel.queue_purge("notification.dead")
        for content, given in bad:
            message = amqp.Message(content, application_headers=given, **JSON)
            channel.basic_publish(message, exchange="notification", routing_key="notification")
        cluster.until(lambda: len(read_letters("notification").letters) == len(bad), "they are dead letters")
        yield [letter.id for letter in read_letters("notification").letters]
        channel.queue_purge("notification.dead")


def ids(found: Letters) -> list[str]:
    return [letter.id for letter in found.letters]


def test_dead_letters_are_read_and_stay(letters: list[str]) -> None:
    found = read_letters("notification")
    assert ids(found) == letters == ids(read_letters("notification"))
    known, unreadable, other = found.letters
    assert (known.id, known.task, known.reason) == ("first", "tasks.notification.run_segment", "rejected")
    assert known.arguments is not None
    assert (known.arguments["run"], known.died_at is not None) == (RUN, True)
    assert (unreadable.id, unreadable.arguments, unreadable.head) == ("second", None, "//57")
    assert (other.task, other.size) == ("", 2)
    some = read_letters("notification", limit=2)
    assert (len(some.letters), some.more) == (2, 1)
    assert ids(read_letters("notification", frozenset({"second"}))) == ["second"]
    assert [each.dead for each in read_queues().queues if each.name == "notification"] == [3]
    assert b'nexusflow_dead_letters{queue="notification"}' in render()[0]


def test_a_redriven_letter_goes_through_its_queue_and_the_others_stay(cluster: Cluster, letters: list[str]) -> None:
    before = {letter.id: letter.died_at for letter in read_letters("notification").letters}
    assert ids(redrive("notification", frozenset({"first"}))) == ["first"]

    def died_again() -> bool:
        return len(read_letters("notification").letters) == len(letters)

    cluster.until(died_again, "it was refused again, so it went through the queue")
    after = {letter.id: letter.died_at for letter in read_letters("notification").letters}
    assert set(after) == set(before)
    assert [letter.id for letter in drop("notification", frozenset({"second"})).letters] == ["second"]
    assert "second" not in ids(read_letters("notification"))
    assert len(drop("notification", frozenset()).letters) == 2
    assert read_letters("notification") == Letters([], 0)


def test_nothing_is_lost_when_redriving_breaks_off(letters: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def breaks(*_: Any) -> None:
        sent.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(dead_letters, "_publish", breaks)
    with pytest.raises(KeyboardInterrupt):
        redrive("notification", frozenset())
    assert sent == [1]
    assert sorted(ids(read_letters("notification"))) == sorted(letters)


def test_a_queue_is_named_as_it_is_called() -> None:
    assert queue_named("workflow.dead") == queue_named("workflow") == "workflow"
    with pytest.raises(InvalidInput, match="no queue 'mail'"):
        queue_named("mail")
