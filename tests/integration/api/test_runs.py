"""Runs over HTTP: started once however often it is asked for, awaited, listed, cancelled; files as their input."""

import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.api.front import Front, hello, web_of
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor

LINES = "name,score\nAda,9\nGrace,10\n"
READ_FILE = {
    "nexusflow": "1",
    "name": "read-file",
    "steps": [{"id": "rows", "type": "csv.read", "with": {"file": "${{ input.list }}"}}],
}


@pytest.fixture(scope="module")
def workflow(front: Front) -> str:
    return front.create(hello("greeting"))


@pytest.fixture(scope="module")
def slow(front: Front, vendor: Vendor) -> str:
    steps = [vendor.step("slow", body={"sleep": 1.5})]
    definition = {"nexusflow": "1", "name": "slow", "steps": steps}
    return str(front.want(201, "POST", "/v2/workflows", {"definition": definition})["id"])


def test_a_run_is_accepted_awaited_and_read(front: Front, other: Front, workflow: str) -> None:
    asked = front.ask("POST", f"/v2/workflows/{workflow}/run?wait=20", {"input": {"who": "Ada", "code": "secret-code"}})
    run = asked.json()["data"]
    assert asked.status_code == 200
    assert asked.headers["location"] == f"/v2/runs/{run['id']}"
    assert (run["status"], run["output"], run["trigger"], run["workflow_id"]) == (
        "succeeded",
        "Hello Ada",
        "api",
        workflow,
    )
    assert "secret-code" not in asked.text
    assert front.get(f"/v2/runs/{run['id']}") == run
    moments = [each["at"] for each in front.get(f"/v2/runs/{run['id']}/events?format=json")["events"]]
    assert all(re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{6}Z", each) for each in [*moments, run["accepted_at"]])
    (step,) = front.get(f"/v2/runs/{run['id']}/steps")
    assert (step["step"], step["state"], step["attempts"]) == ("greet", "succeeded", 1)
    for end in ("", "/steps"):
        other.refused(404, "NOT_FOUND", "GET", f"/v2/runs/{run['id']}{end}")
    other.refused(404, "NOT_FOUND", "POST", f"/v2/runs/{run['id']}/cancel")
    other.refused(404, "NOT_FOUND", "POST", f"/v2/workflows/{workflow}/run", {})


def test_a_wait_that_is_too_short_gives_what_was_accepted(front: Front, slow: str) -> None:
    began = time.monotonic()
    run = front.want(202, "POST", f"/v2/workflows/{slow}/run?wait=0.3")
    assert 0.3 <= time.monotonic() - began < 1.3
    assert run["status"] == "queued"
    front.refused(422, "VALIDATION_ERROR", "POST", f"/v2/workflows/{slow}/run?wait=61", {})
    front.refused(422, "VALIDATION_ERROR", "POST", f"/v2/workflows/{slow}/run?wait=nan", {})


def test_a_front_end_that_is_told_to_stop_gives_waiters_what_was_accepted(
    cluster: Cluster, front: Front, slow: str
) -> None:
    def total() -> int:
        return int(front.ask("GET", "/v2/runs", params={"workflow": slow}).json()["pagination"]["total"])

    before = total()
    with web_of(cluster, "leaving") as (url, promises), Front(url, front.secret, promises) as leaving:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(leaving.want, 202, "POST", f"/v2/workflows/{slow}/run?wait=30")
            process = cluster.processes["leaving"]
            cluster.until(lambda: total() > before, "it is accepted")
            began = time.monotonic()
            process.signal(signal.SIGTERM)
            run = waiting.result()["id"]
            assert time.monotonic() - began < 1
        cluster.until(lambda: not process.runs, "the process has ended", 5)
    assert front.get(f"/v2/runs/{run}")["id"] == run


def test_input_that_does_not_fit_is_refused_with_pointers(front: Front, workflow: str) -> None:
    path = f"/v2/workflows/{workflow}/run"
    error = front.refused(422, "INVALID_INPUT", "POST", path, {"input": {"who": "A", "age": 3}})
    assert {each["path"] for each in error["details"]} == {"/input/who", "/input/age"}
    inputs = [{"who": "Ada"}, {"who": 7}, {"whom": "Grace"}]
    before = len(front.get("/v2/runs", params={"workflow": workflow, "per_page": 100}))
    error = front.refused(422, "INVALID_INPUT", "POST", f"{path}:batch", {"inputs": inputs})
    assert {each["path"].split("/")[2] for each in error["details"]} == {"1", "2"}
    assert len(front.get("/v2/runs", params={"workflow": workflow, "per_page": 100})) == before


def test_a_body_of_nothing_may_come_in_chunks(front: Front, workflow: str) -> None:
    def nothing() -> Iterator[bytes]:
        yield from ()

    run = front.want(202, "POST", f"/v2/workflows/{workflow}/run", content=nothing())["id"]
    assert front.want(202, "POST", f"/v2/runs/{run}/cancel", content=nothing())["id"] == run
    typed = {"Content-Type": "application/json"}
    front.refused(400, "NOT_JSON", "POST", f"/v2/runs/{run}/cancel", content=nothing(), headers=typed)


def test_large_values_are_told_by_their_size_unless_they_are_wanted(front: Front) -> None:
    definition = {
        "nexusflow": "1",
        "name": "echo",
        "steps": [{"id": "echo", "type": "transform", "with": {"jq": ".input.text"}}],
    }
    workflow = front.want(201, "POST", "/v2/workflows", {"definition": definition})["id"]
    text = "x" * 400_000
    run = front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20", {"input": {"text": text}})
    assert run["output"] == text
    told = front.get(f"/v2/runs/{run['id']}")
    assert told["output"]["$large"]["bytes"] == len(text) + 2
    assert front.get(f"/v2/runs/{run['id']}?whole=true") == run


def test_a_request_under_one_key_is_done_once_however_often_it_comes(front: Front, workflow: str) -> None:
    path, key = f"/v2/workflows/{workflow}/run", str(uuid.uuid4())
    body = {"input": {"who": "Ada"}}
    barrier = threading.Barrier(8)

    def start(_: int) -> tuple[int, str, bool]:
        barrier.wait()
        answer = front.ask("POST", path, body, headers={"Idempotency-Key": key})
        return answer.status_code, answer.json()["data"]["id"], "idempotency-replayed" in answer.headers

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start, range(8)))
    assert {status for status, _, _ in answers} == {202}
    assert len({run for _, run, _ in answers}) == 1
    assert sorted(is_replayed for _, _, is_replayed in answers) == [False] + [True] * 7
    other_body = {"input": {"who": "Grace"}}
    front.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", path, other_body, headers={"Idempotency-Key": key})
    waited = front.ask("POST", f"{path}?wait=20", body, headers={"Idempotency-Key": key})
    assert (waited.status_code, waited.json()["data"]["id"]) == (200, answers[0][1])
    for wrong in ("", "x" * 256, "two\twords"):
        front.refused(422, "VALIDATION_ERROR", "POST", path, body, headers={"Idempotency-Key": wrong})


def test_every_other_post_is_done_once_under_its_key(front: Front) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = front.ask("POST", "/v2/workflows", {"source": hello("once")}, headers=key)
    again = front.ask("POST", "/v2/workflows", {"source": hello("once")}, headers=key)
    assert (again.status_code, again.headers["location"]) == (201, first.headers["location"])
    assert again.json()["data"] == first.json()["data"]
    assert again.headers["idempotency-replayed"] == "true"
    path = first.headers["location"]
    front.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", f"{path}/publish", headers=key)
    run = front.want(202, "POST", f"{path}/run")["id"]
    for end in ("publish", "archive", f"../../runs/{run}/cancel"):
        key = {"Idempotency-Key": str(uuid.uuid4())}
        told = [front.ask("POST", f"{path}/{end}", headers=key) for _ in range(2)]
        assert told[0].json()["data"] == told[1].json()["data"]
        assert "idempotency-replayed" in told[1].headers


def test_a_batch_is_accepted_in_its_order(front: Front, workflow: str) -> None:
    path, key = f"/v2/workflows/{workflow}/run:batch", {"Idempotency-Key": str(uuid.uuid4())}
    inputs = [{"who": f"caller {number}"} for number in range(20)]
    runs = front.want(202, "POST", path, {"inputs": inputs}, headers=key)
    assert len({run["id"] for run in runs}) == 20
    assert front.want(202, "POST", path, {"inputs": inputs}, headers=key) == runs
    for place in (0, 19):
        assert front.get(f"/v2/runs/{runs[place]['id']}")["input"] == inputs[place]
    for wrong in ([], [{}] * 1001):
        front.refused(422, "VALIDATION_ERROR", "POST", path, {"inputs": wrong})


def test_a_run_is_cancelled_once_and_for_all(front: Front, slow: str) -> None:
    run = front.want(202, "POST", f"/v2/workflows/{slow}/run", {})["id"]
    assert front.want(202, "POST", f"/v2/runs/{run}/cancel")["id"] == run
    for _ in range(200):
        found = front.get(f"/v2/runs/{run}")
        if found["status"] == "cancelled":
            break
        time.sleep(0.05)
    assert (found["status"], found["cause"]) == ("cancelled", "user")
    assert front.want(202, "POST", f"/v2/runs/{run}/cancel", {})["status"] == "cancelled"


def test_a_run_is_paused_and_resumed(front: Front, other: Front, slow: str) -> None:
    run = front.want(202, "POST", f"/v2/workflows/{slow}/run", {})["id"]
    for _ in range(2):
        assert front.want(202, "POST", f"/v2/runs/{run}/pause") == {"id": run, "status": "paused"}
    assert [each["id"] for each in front.get(f"/v2/runs?status=paused&workflow={slow}")] == [run]
    for change in ("pause", "resume"):
        other.refused(404, "NOT_FOUND", "POST", f"/v2/runs/{run}/{change}")
        front.refused(422, "VALIDATION_ERROR", "POST", f"/v2/runs/{run}/{change}", {"why": "lunch"})
    for _ in range(2):
        assert front.want(202, "POST", f"/v2/runs/{run}/resume")["status"] in ("queued", "running")
    front.want(202, "POST", f"/v2/runs/{run}/cancel")


def test_runs_are_filtered_sorted_and_paged(front: Front, other: Front) -> None:
    workflow = front.create(hello("listed"))
    runs = [front.want(202, "POST", f"/v2/workflows/{workflow}/run", {"input": {"who": "Ada"}})["id"] for _ in range(5)]
    front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20")
    query = {"workflow": "listed", "per_page": 4, "sort": "accepted_at"}
    page = front.ask("GET", "/v2/runs", params=query).json()
    assert [each["id"] for each in page["data"]] == runs[:4]
    assert page["pagination"]["total"] == 6
    rest = front.get("/v2/runs", params=query | {"cursor": page["pagination"]["next_cursor"]})
    assert rest[0]["id"] == runs[4]
    assert front.get("/v2/runs", params=query | {"page": 1_000_000}) == []
    middle = page["data"][2]["accepted_at"]
    late = front.get("/v2/runs", params={"workflow": workflow, "since": middle.replace("Z", "+00:00")})
    assert len(late) == 4
    assert len(front.get("/v2/runs", params={"workflow": workflow, "until": middle})) == 2
    assert front.get("/v2/runs", params={"workflow": workflow, "status": "failed,timed_out", "cause": "user"}) == []
    assert front.get("/v2/runs", params={"text": runs[0][:13]})
    assert other.get("/v2/runs", params={"workflow": workflow}) == []
    for name, value in {
        "status": "done",
        "cause": "fate",
        "sort": "size",
        "since": "2026-01-01T00:00:00",
        "per_page": 101,
        "page": 0,
        "workflow": "no-such",
        "cursor": page["pagination"]["next_cursor"][:-2],
        "text": "x" * 201,
    }.items():
        answer = front.ask("GET", "/v2/runs", params={name: value})
        assert answer.status_code == 422, (name, answer.text)


@pytest.mark.parametrize("way", ["raw", "form"])
def test_a_file_is_uploaded_and_given_by_reference(way: str, front: Front, other: Front) -> None:
    if way == "raw":
        given = {"content": LINES, "headers": {"Content-Type": "text/csv"}, "params": {"name": "../people.csv"}}
    else:
        given = {"files": {"file": ("people.csv", LINES, "text/csv")}}
    kept = front.want(201, "POST", "/v2/files", **given)
    assert (kept["name"], kept["size"], kept["media_type"]) == ("people.csv", len(LINES), "text/csv")
    found = front.get("/v2/workflows", params={"text": "read-file"})
    workflow = found[0]["id"] if found else front.want(201, "POST", "/v2/workflows", {"definition": READ_FILE})["id"]
    run = front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20", {"input": {"list": kept}})
    assert run["status"] == "succeeded", run
    assert [row["name"] for row in run["output"]["rows"]] == ["Ada", "Grace"]
    front.refused(422, "VALIDATION_ERROR", "POST", "/v2/files", files={"other": ("x.csv", LINES)})
    front.refused(
        422, "VALIDATION_ERROR", "POST", "/v2/files", content=b"--", headers={"Content-Type": "multipart/form-data"}
    )
    stolen = other.want(201, "POST", "/v2/workflows", {"definition": READ_FILE | {"name": f"theft-{way}"}})["id"]
    run = other.want(200, "POST", f"/v2/workflows/{stolen}/run?wait=20", {"input": {"list": kept}})
    assert (run["status"], run["error"]["code"]) == ("failed", "FILE_MISSING")


def test_a_run_as_a_test_file(front: Front, other: Front, workflow: str, slow: str) -> None:
    run = front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20", {"input": {"code": "secret-code"}})["id"]
    exported = front.get(f"/v2/runs/{run}/test?workflow=greeting.yaml")
    assert (exported["run_id"], exported["notes"]) == (run, [])
    assert "workflow: greeting.yaml\n" in exported["source"]
    assert "output: Hello you\n" in exported["source"]
    assert "secret-code" not in exported["source"]
    other.refused(404, "NOT_FOUND", "GET", f"/v2/runs/{run}/test")
    running = front.want(202, "POST", f"/v2/workflows/{slow}/run")["id"]
    front.refused(409, "CANNOT_EXPORT", "GET", f"/v2/runs/{running}/test")
