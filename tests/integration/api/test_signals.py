"""Signals over HTTP: sent once however often they are asked for, listed, read; by their tenant alone."""

import time
from typing import Any

import httpx2

from tests.integration.api.front import Front

PAID = """\
nexusflow: "1"
name: paid-by-signal
input: { schema: { type: object, properties: { order: { type: string } } } }
steps:
  - { id: payment, type: wait, with: { event: web.paid, key: "${{ input.order }}" } }
"""


def signal(name: str, key: str = "", **words: Any) -> dict[str, Any]:
    return {"name": name, "key": key, **words}


def test_a_run_goes_on_with_what_a_signal_brings(front: Front) -> None:
    workflow = front.create(PAID)
    kept = front.want(202, "POST", "/v2/signals", signal("web.paid", "o-1", data={"amount": 3}))
    assert (kept["state"], kept["run_id"]) == ("kept", None)
    run = front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20", {"input": {"order": "o-1"}})
    assert (run["status"], run["output"]) == ("succeeded", {"amount": 3})
    found = front.get(f"/v2/signals/{kept['id']}")
    assert (found["state"], found["run_id"], found["step"], found["item"]) == ("delivered", run["id"], "payment", None)
    assert found["data"] == {"amount": 3}
    (listed,) = front.get(f"/v2/signals?run={run['id']}")
    assert "data" not in listed
    assert listed["id"] == kept["id"]


def test_a_waiting_step_says_for_what(front: Front) -> None:
    workflow = front.create(PAID.replace("paid-by-signal", "waits-for-signal").replace("web.paid", "web.waits"))
    run = front.want(202, "POST", f"/v2/workflows/{workflow}/run", {"input": {"order": "o-2"}})["id"]
    for _ in range(100):
        (step,) = front.get(f"/v2/runs/{run}/steps")
        if step["waits_for"] is not None:
            break
        time.sleep(0.05)
    assert (step["state"], step["waits_until"]) == ("waiting", None)
    assert step["waits_for"] == {"event": "web.waits", "keys": ["o-2"], "waiting": 1}
    given = front.get(f"/v2/runs/{run}/steps/payment")["input"]
    assert given == {"event": "web.waits", "key": "o-2"}
    with httpx2.Client(base_url=front.url, cookies={"nexusflow_key": front.secret}) as browser:
        page = browser.get(f"/runs/{run}?step=payment").text
    for told in ("It waits for <code>web.waits o-2</code>", "for <code>web.waits o-2</code>", "for web.waits o-2"):
        assert told in page
    front.want(202, "POST", f"/v2/runs/{run}/cancel")


def test_a_signal_sent_again_is_answered_the_same(front: Front) -> None:
    once = {"Idempotency-Key": "signal-1"}
    first = front.ask("POST", "/v2/signals", signal("web.once"), headers=once)
    again = front.ask("POST", "/v2/signals", signal("web.once"), headers=once)
    assert first.json()["data"] == again.json()["data"]
    assert first.headers["location"] == f"/v2/signals/{first.json()['data']['id']}"
    assert again.headers["idempotency-replayed"] == "true"
    front.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", "/v2/signals", signal("web.once", "x"), headers=once)
    assert len(front.get("/v2/signals?name=web.once")) == 1


def test_a_signal_for_nobody(front: Front) -> None:
    error = front.refused(409, "NOBODY_WAITS", "POST", "/v2/signals", signal("web.nobody", "o-1", only_if_awaited=True))
    (found,) = front.get("/v2/signals?name=web.nobody&state=refused")
    assert found["id"] in error["message"]


def test_pages_and_filters(front: Front, other: Front) -> None:
    ids = [front.want(202, "POST", "/v2/signals", signal("web.page", f"k{n % 2}"))["id"] for n in range(5)]
    page = front.ask("GET", "/v2/signals?name=web.page&per_page=2").json()
    assert [each["id"] for each in page["data"]] == [ids[4], ids[3]]
    assert page["pagination"]["total"] == 5
    cursor = page["pagination"]["next_cursor"]
    rest = front.ask("GET", f"/v2/signals?name=web.page&per_page=3&cursor={cursor}").json()
    assert [each["id"] for each in rest["data"]] == [ids[2], ids[1], ids[0]]
    assert rest["pagination"]["next_cursor"] is None
    assert [each["id"] for each in front.get("/v2/signals?name=web.page&sort=received_at&per_page=1&page=2")] == [
        ids[1]
    ]
    assert len(front.get("/v2/signals?name=web.page&key=k1&state=kept")) == 2
    assert front.get("/v2/signals?name=web.page&state=expired") == []
    assert other.get("/v2/signals?name=web.page") == []
    other.refused(404, "NOT_FOUND", "GET", f"/v2/signals/{ids[0]}")


def test_wrong_signals(front: Front) -> None:
    for body, path in (
        (signal("two words"), "/name"),
        ({"key": "k"}, "/name"),
        (signal("ok", "k" * 201), "/key"),
        (signal("ok", 7), "/key"),  # type: ignore[arg-type]
        (signal("ok", event="x"), "/event"),
    ):
        error = front.refused(422, "VALIDATION_ERROR", "POST", "/v2/signals", body)
        assert [each["path"] for each in error["details"]] == [path]
    for body, path in (
        (signal("ok", keep_for="40d"), "/keep_for"),
        (signal("ok", "a\n"), "/key"),
        (signal("ok", data="x" * 300_000), "/data"),
    ):
        error = front.refused(422, "INVALID_INPUT", "POST", "/v2/signals", body)
        assert [each["path"] for each in error["details"]] == [path]
    front.refused(422, "VALIDATION_ERROR", "GET", "/v2/signals?state=lost")
    front.refused(422, "VALIDATION_ERROR", "GET", "/v2/signals?nam=ok")
