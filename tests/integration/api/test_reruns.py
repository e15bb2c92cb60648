"""Runs repeated over HTTP and on the page, one and many; and many cancelled."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.integration.api.front import Front, hello
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor

OWN = {"Sec-Fetch-Site": "same-origin"}
Broken = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def broken(front: Front, cluster: Cluster, vendor: Vendor) -> Broken:
    """Runs of a new workflow whose last step a vendor refuses once; the workflow and the runs."""

    def make(count: int = 1) -> tuple[str, list[str]]:
        bad = vendor.step("bad", "first", body={"fail": 1, "status": 400, "answer": "${{ input.n }}"})
        definition = {"nexusflow": "1", "name": f"broken-{uuid.uuid4()}", "steps": [vendor.step("first"), bad]}
        schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}
        definition |= {"input": {"schema": schema}, "output": "${{ steps.bad.output.body }}"}
        workflow = front.want(201, "POST", "/v2/workflows", {"definition": definition})["id"]
        made = front.want(202, "POST", f"/v2/workflows/{workflow}/run:batch", {"inputs": [{}] * count})
        runs = [each["id"] for each in made]
        cluster.finish_all(runs)
        return workflow, runs

    return make


def ended(front: Front, cluster: Cluster, run: str) -> Any:
    cluster.finish(run)
    return front.get(f"/v2/runs/{run}")


def test_a_run_is_repeated_from_what_failed(front: Front, other: Front, cluster: Cluster, broken: Broken) -> None:
    _, (run,) = broken()
    path, key = f"/v2/runs/{run}/rerun", {"Idempotency-Key": str(uuid.uuid4())}
    told = front.want(200, "POST", f"{path}?dry_run=true", {})
    assert (told["from"], told["kept"], told["redone"]) == ("failed", {"first": 1}, ["bad"])
    (effect,) = told["effects"]
    assert (effect["step"], effect["action"], effect["was"], effect["keys"]) == (
        "bad",
        "http.request",
        "unfinished",
        "same",
    )
    assert front.get(f"/v2/runs/{run}")["reruns"] == []
    first, second = (front.ask("POST", path, {"from": "failed"}, headers=key) for _ in range(2))
    assert (first.status_code, first.json()["data"]) == (202, second.json()["data"])
    assert "idempotency-replayed" in second.headers
    new = first.json()["data"]
    assert (new["rerun_of"], new["from"], new["kept"], new["version"]) == (run, "failed", 1, 1)
    assert first.headers["location"] == f"/v2/runs/{new['id']}"
    after = ended(front, cluster, new["id"])
    assert (after["status"], after["output"], after["trigger"], after["rerun_from"]) == (
        "succeeded",
        1,
        "rerun",
        "failed",
    )
    assert front.get(f"/v2/runs/{run}")["reruns"] == [new["id"]]
    listed = front.get("/v2/runs?trigger=rerun&per_page=100")
    assert {each["rerun_of"] for each in listed if each["id"] == new["id"]} == {run}
    steps = {each["step"]: each["note"] for each in front.get(f"/v2/runs/{new['id']}/steps")}
    assert steps == {"first": "kept", "bad": None}
    detail = front.get(f"/v2/runs/{new['id']}/steps/first")
    assert (detail["kept_from"], detail["idempotency_key"]) == (run, f"{run}/first")
    other.refused(404, "NOT_FOUND", "POST", path, {})
    front.refused(409, "NOTHING_FAILED", "POST", f"/v2/runs/{new['id']}/rerun")
    replay = front.want(202, "POST", path, {"input": {"n": 7}})["id"]
    assert front.get(f"/v2/runs/{replay}")["input"] == {"n": 7}


def test_what_cannot_be_asked_for_is_refused_with_its_place(front: Front, broken: Broken) -> None:
    _, (run,) = broken()
    path = f"/v2/runs/{run}/rerun"
    for body, code, place in (
        ({"from": "bda"}, "INVALID_INPUT", "/from"),
        ({"version": "newest"}, "VALIDATION_ERROR", "/version"),
        ({"version": 0}, "VALIDATION_ERROR", "/version"),
        ({"form": "start"}, "VALIDATION_ERROR", "/form"),
        ({"input": {"n": "x"}}, "INVALID_INPUT", "/input/n"),
    ):
        error = front.refused(422, code, "POST", path, body)
        assert [each["path"] for each in error["details"]] == [place], body
    front.refused(404, "NOT_FOUND", "POST", path, {"version": 9})
    front.refused(422, "INVALID_INPUT", "POST", path, {"from": "bad", "input": {}})


def test_many_runs_are_repeated_by_a_filter(front: Front, cluster: Cluster, broken: Broken) -> None:
    workflow, runs = broken(3)
    asked = {"filter": {"workflow": workflow}, "limit": 2}
    told = front.want(200, "POST", "/v2/runs:rerun", {**asked, "dry_run": True})
    assert (told["matched"], told["done"], told["effects"][0]["times"]) == (2, 2, 2)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    done = front.want(200, "POST", "/v2/runs:rerun", asked, headers=key)
    assert [each["run_id"] for each in done["runs"]] == sorted(runs)[:2], "the oldest first"
    assert front.want(200, "POST", "/v2/runs:rerun", asked, headers=key) == done
    for each in done["runs"]:
        assert ended(front, cluster, each["id"])["status"] == "succeeded"
    left = front.want(200, "POST", "/v2/runs:rerun", {"filter": {"workflow": workflow}})
    assert [each["error"] and each["error"]["code"] for each in left["runs"]] == ["REPEATED_ALREADY"] * 2 + [None]
    for body, place in (
        ({"filter": {}}, "/filter"),
        ({"filter": {"workflow": "gone"}}, "/filter/workflow"),
        ({"filter": {"status": ["lost"]}}, "/filter/status"),
        ({"filter": {"workflow": workflow}, "input": {}}, "/input"),
        ({"filter": {"workflow": workflow}, "limit": 1_001}, "/limit"),
    ):
        error = front.refused(422, "VALIDATION_ERROR", "POST", "/v2/runs:rerun", body)
        assert [each["path"] for each in error["details"]] == [place], body


def test_many_runs_are_cancelled_by_a_filter(front: Front, cluster: Cluster) -> None:
    step = {"id": "rest", "type": "wait", "with": {"duration": "1h"}}
    definition = {"nexusflow": "1", "name": f"resting-{uuid.uuid4()}", "steps": [step]}
    workflow = front.want(201, "POST", "/v2/workflows", {"definition": definition})["id"]
    made = front.want(202, "POST", f"/v2/workflows/{workflow}/run:batch", {"inputs": [{}] * 3})
    asked = {"filter": {"workflow": workflow}}
    told = front.want(200, "POST", "/v2/runs:cancel", {**asked, "dry_run": True})
    assert (told["matched"], told["dry_run"]) == (3, True)
    assert front.want(200, "POST", "/v2/runs:cancel", asked)["done"] == 3
    cluster.finish_all([each["id"] for each in made])
    assert {front.get(f"/v2/runs/{each['id']}")["status"] for each in made} == {"cancelled"}
    assert front.want(200, "POST", "/v2/runs:cancel", asked)["matched"] == 0


def test_the_page_repeats_a_run_that_is_over(front: Front, cluster: Cluster, broken: Broken) -> None:
    _, (run,) = broken()
    workflow = front.create(hello(f"good-{uuid.uuid4()}"))
    good = front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20")["id"]
    with httpx2.Client(base_url=front.url, timeout=30) as page:
        page.post("/sign-in", data={"key": front.secret}, headers=OWN)
        assert "Run again what failed" in page.get(f"/runs/{run}").text
        assert "Run again what failed" not in page.get(f"/runs/{good}").text
        assert "Run again from the start" in page.get(f"/runs/{good}").text
        again = f"/runs/{run}/rerun?from=failed&key={uuid.uuid4()}"
        assert page.post(again).status_code == 403, "from another site"
        first, second = (page.post(again, headers=OWN) for _ in range(2))
        assert first.status_code == 303
        assert first.headers["location"] == second.headers["location"]
        new = first.headers["location"].rpartition("/")[2]
        assert new in page.get(f"/runs/{run}").text
        assert ended(front, cluster, new)["status"] == "succeeded"
        assert f"/runs/{run}" in page.get(f"/runs/{new}").text
        refused = page.post(f"/runs/{good}/rerun?from=failed", headers=OWN)
        assert (refused.status_code, "Nothing failed" in refused.text) == (409, True)
