"""The page's answers: what protects them, and what they say when something is wrong."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.integration.api.front import Front, hello

OWN = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {}]


@pytest.fixture
def page(front: Front) -> Iterator[httpx2.Client]:
    """A browser's requests, signed in."""
    with httpx2.Client(base_url=front.url, timeout=30) as client:
        sign_in(client, front)
        yield client


def sign_in(client: httpx2.Client, front: Front) -> None:
    answer = client.post("/sign-in", data={"key": front.secret}, headers=OWN)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_pages_allow_no_inline_script_and_are_kept_by_no_cache(page: httpx2.Client) -> None:
    for path in ("/", "/workflows", "/workflows/new", "/sign-in"):
        answer = page.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_another_site_changes_nothing(page: httpx2.Client, front: Front, headers: dict[str, str]) -> None:
    workflow = front.create(hello(f"guarded-{FOREIGN.index(headers)}"))
    for path in (
        "/sign-in",
        "/sign-out",
        f"/workflows/{workflow}/start",
        f"/workflows/{workflow}/publish",
        "/workflows/save",
    ):
        assert page.post(path, data={"key": front.secret}, headers=headers).status_code == 403, path
    assert front.get(f"/v2/runs?workflow={workflow}") == []
    assert page.post(f"/workflows/{workflow}/start", headers=OWN).status_code == 303


def test_a_form_sent_twice_starts_one_run(page: httpx2.Client, front: Front) -> None:
    workflow = front.create(hello("twice"))
    sent = {"request_key": "5f0e", "/who": "Ada"}
    first, second = (page.post(f"/workflows/{workflow}/start", data=sent, headers=OWN) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert len(front.get(f"/v2/runs?workflow={workflow}")) == 1
    assert front.get(f"/v2/runs?workflow={workflow}")[0]["trigger"] == "page"


def test_who_is_not_signed_in_is_asked_to_and_comes_back(front: Front) -> None:
    with httpx2.Client(base_url=front.url) as client:
        answer = client.get("/workflows?text=a")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fworkflows%3Ftext%3Da")
        for there, wanted in (
            ("/workflows", "/workflows"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://e", "/"),
        ):
            answer = client.post("/sign-in", data={"key": front.secret, "next": there}, headers=OWN)
            assert answer.headers["location"] == wanted
    with httpx2.Client(base_url=front.url, cookies={"nexusflow_key": "nxf_gone"}) as client:
        assert client.get("/", headers={"X-Page-Part": "1"}).status_code == 401


def test_what_is_not_there_is_a_page_that_says_so(page: httpx2.Client, other: Front) -> None:
    theirs = other.create(hello("theirs"))
    missing = "0199aaaa-0000-7000-8000-00000000000d"
    for path in (
        f"/runs/{missing}",
        "/runs/x",
        f"/workflows/{theirs}",
        "/page/x/y.css",
    ):
        answer = page.get(path)
        assert answer.status_code == 404, path
        assert "There is no" in answer.text
        assert "NEXUSFLOW_" not in answer.text, "a browser has no environment"
    shown = page.get(f"/runs/{missing}").text
    assert re.search('class="tenant"[^>]*>tenant-a<', shown), "the tenant's name, as on every page"
    assert "one of this" in shown
    assert page.get("/page/x/..%2F__init__.py").status_code == 404
    assert page.get("/?page=0").status_code == 422
    assert page.get("/?workflow=none").status_code == 404
    torn = page.post("/sign-in", content=b"--x\r\n", headers={**OWN, "Content-Type": "multipart/form-data; boundary=x"})
    assert torn.status_code in (400, 401, 422)


def test_a_form_has_a_length_and_a_limit(page: httpx2.Client) -> None:
    def parts() -> Iterator[bytes]:
        yield b"source=x"

    large = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}
    assert page.post("/workflows/check", content=parts(), headers=large).status_code == 413
    assert page.post("/workflows/check", content=b"source=" + b"x" * 8_400_000, headers=large).status_code == 413
    assert "problem" in page.post("/workflows/check", content=b"source=x", headers=large).text


def test_a_step_and_its_items_are_read_by_the_api(front: Front) -> None:
    each = (
        "{ id: put, type: transform, with: { input: '${{ n }}', jq: 'if . == 2 then error(\"no\") else . * 10 end' } }"
    )
    source = (
        'nexusflow: "1"\nname: detailed\nsteps:\n  - id: each\n    type: foreach\n'
        "    with: { items: [1, 2, 3], as: n, on_item_error: collect }\n    steps: [" + each + "]\n"
    )
    run = front.want(200, "POST", f"/v2/workflows/{front.create(source)}/run?wait=20", {"input": {}})["id"]
    whole = front.get(f"/v2/runs/{run}/steps/each")
    assert (whole["state"], whole["has_items"], whole["written"]["with"]["items"]) == ("succeeded", True, [1, 2, 3])
    one = front.get(f"/v2/runs/{run}/steps/each/put?item=2")
    assert (one["output"], one["item_name"], one["item_value"], one["attempts"]) == (30, "n", 3, 1)
    assert one["input"]["input"] == 3
    assert (whole["input"], front.get(f"/v2/runs/{run}/steps/each/put")["input"]) == (None, None)
    assert one["idempotency_key"] == f"{run}/each/put/2"
    listed = front.ask("GET", f"/v2/runs/{run}/steps/each/put/items?per_page=2").json()
    assert [(line["item"], line["state"]) for line in listed["data"]] == [("0", "succeeded"), ("1", "failed")]
    assert listed["pagination"]["total"] == 3
    failed = front.get(f"/v2/runs/{run}/steps/each/items?state=failed")
    assert [line["item"] for line in failed] == ["1"]
    front.refused(404, "NOT_FOUND", "GET", f"/v2/runs/{run}/steps/other")
    front.refused(422, "INVALID_INPUT", "GET", f"/v2/runs/{run}/steps/each?item=0.1")


def test_a_steps_input_is_what_its_expressions_gave(front: Front) -> None:
    source = """nexusflow: "1"
name: given
input:
  schema: { properties: { who: { type: string }, pin: { type: string, x-sensitive: true } } }
steps:
  - { id: first, type: transform, with: { input: "${{ input.who }}", jq: "ascii_upcase" } }
  - id: second
    type: transform
    needs: [first]
    with:
      input: { text: "Hello, ${{ steps.first.output }}", size: "${{ size(input.who) }}", pin: "${{ input.pin }}" }
      jq: "."
  - { id: third, type: transform, needs: [second], when: "${{ input.who == 'Eve' }}", with: { input: 1, jq: "." } }
  - { id: fourth, type: transform, needs: [third], with: { jq: ".steps.third" } }
"""
    given = {"input": {"who": "Ada", "pin": "the-secret-pin"}}
    run = front.want(200, "POST", f"/v2/workflows/{front.create(source)}/run?wait=20", given)["id"]
    second, third, fourth = (front.get(f"/v2/runs/{run}/steps/{name}") for name in ("second", "third", "fourth"))
    assert second["input"]["input"] == {"text": "Hello, ADA", "size": 3, "pin": "***"}
    assert (third["state"], third["input"]) == ("skipped", None)
    assert fourth["input"]["input"]["steps"]["third"]["output"] is None
    assert "the-secret-pin" not in str((second, third, fourth))
