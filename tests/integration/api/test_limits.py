"""Limits of runs over HTTP: accepted and held, refused with 409, answered with the run that is there, a full queue."""

from collections.abc import Iterator

import pytest

from nexusflow.operations.tenants import limit_tenant
from tests.integration.api.front import Front
from tests.integration.cluster import Cluster

SLOW = """\
nexusflow: "1"
name: {name}
{limits}
steps:
  - {{ id: rest, type: wait, with: {{ duration: "${{{{ input.rest }}}}" }} }}
"""
LONG, SHORT = {"input": {"rest": "1h"}}, {"input": {"rest": "50ms"}}


@pytest.fixture
def queue_of_two(cluster: Cluster) -> Iterator[None]:
    with cluster.active():
        limit_tenant("tenant-b", {"queued": 2})
    yield
    with cluster.active():
        limit_tenant("tenant-b", {"queued": None})


def run(front: Front, workflow: str, body: object, key: str | None = None) -> str:
    headers = {"Idempotency-Key": key} if key else {}
    return str(front.want(202, "POST", f"/v2/workflows/{workflow}/run", body, headers=headers)["id"])


def test_a_full_queue_is_told_with_429_and_when_to_come_again(
    cluster: Cluster, other: Front, queue_of_two: None
) -> None:
    workflow = other.create(SLOW.format(name="full", limits="concurrency: { limit: 1 }"))
    first = run(other, workflow, LONG, "first")
    cluster.until(lambda: other.get(f"/v2/runs/{first}")["status"] == "running", "the first one has begun")
    waiting = [run(other, workflow, SHORT) for _ in range(2)]
    shown = other.get(f"/v2/runs/{waiting[1]}")
    assert (shown["status"], shown["waits_for"]["reason"], shown["waits_for"]["before"]) == ("queued", "slot", 1)
    refused = other.ask("POST", f"/v2/workflows/{workflow}/run", SHORT)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "QUEUE_FULL")
    assert error["message"] == "2 runs wait to start already, and at most 2 may; this would be 1 more."
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert run(other, workflow, LONG, "first") == first
    other.want(202, "POST", f"/v2/runs/{first}/cancel")
    cluster.until(
        lambda: all(other.get(f"/v2/runs/{each}")["status"] == "succeeded" for each in waiting), "the others ran"
    )
    events = [each["type"] for each in other.get(f"/v2/runs/{waiting[0]}/events?format=json")["events"]]
    assert events[:3] == ["run.accepted", "run.admitted", "run.started"]


def test_a_refusal_and_a_run_that_is_there_already(front: Front) -> None:
    refusing = front.create(SLOW.format(name="refusing", limits="concurrency: { limit: 1, when_full: refuse }"))
    first = run(front, refusing, LONG)
    error = front.refused(409, "LIMIT_REACHED", "POST", f"/v2/workflows/{refusing}/run", LONG)
    assert error["message"] == "The workflow has 1 run already, and its limit is 1."
    front.want(202, "POST", f"/v2/runs/{first}/cancel")
    single = front.create(SLOW.format(name="single", limits="singleton: true"))
    first = run(front, single, LONG)
    again = front.ask("POST", f"/v2/workflows/{single}/run", LONG)
    assert (again.json()["data"]["id"], again.headers["idempotency-replayed"]) == (first, "true")
    front.want(202, "POST", f"/v2/runs/{first}/cancel")


def test_what_waits_is_told_on_the_page_and_counts_for_a_plan(front: Front) -> None:
    source = SLOW.format(name="drawn", limits='concurrency: { limit: 5, key: "${{ input.rest }}" }')
    drawn = front.want(200, "POST", "/v2/workflows:compile?format=text", {"source": source})["plan"]
    assert "    before it begins: at most 5 runs at once of each input.rest, others wait\n" in drawn
