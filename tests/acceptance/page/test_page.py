"""The page in a real browser: signing in, watching, looking into a step, starting by a form, writing a workflow."""

import json
from pathlib import Path
from typing import Any

from tests.acceptance.page.conftest import Visitor
from tests.integration.api.front import Front
from tests.integration.vendor import Vendor

EVIL = "</script><img src=x onerror='window.hacked=1'><b onmouseover=alert(1)>\"'`"
HEAD = {"nexusflow": "1"}


def call(url: str, **body: Any) -> dict[str, Any]:
    """What a step needs to call the tests' vendor."""
    return {"method": "POST", "url": url, "body": body}


def save(front: Front, name: str, steps: list[dict[str, Any]], **words: Any) -> str:
    return front.create(json.dumps({**HEAD, "name": name, **words, "steps": steps}))


def start(front: Front, workflow: str, given: dict[str, Any] | None = None, *, wait: bool = True) -> str:
    answer = front.ask("POST", f"/v2/workflows/{workflow}/run{'?wait=30' if wait else ''}", {"input": given or {}})
    return str(answer.json()["data"]["id"])


def test_a_key_in_the_address_signs_in_and_does_not_stay_there(visitor: Visitor, front: Front) -> None:
    page = visitor.tab()
    page.open(f"{front.url}/workflows?text=x")
    assert "Sign in" in page.text("h1")
    page.write("#key", "nxf_wrong")
    page.click("button.main")
    page.until("document.body.innerText.includes('not known here')")
    assert page.complaints.pop().startswith("Failed to load resource: the server responded with a status of 401")
    page.open("about:blank")
    page.open(f"{front.url}/#key={front.secret}")
    page.until("location.href === " + json.dumps(f"{front.url}/"))
    page.until("document.body?.innerText.includes('No runs yet') || !!document.querySelector('table.runs')")
    assert page.value("document.cookie") == ""
    assert page.value("history.state") is None
    page.open("about:blank")
    page.open(f"{front.url}/workflows#key=nxf_of-somebody-else")
    page.until("location.href === " + json.dumps(f"{front.url}/workflows"))
    page.value("new Promise(done => setTimeout(done, 300))")
    assert page.text("h1") == "Workflows", "who is signed in stays so"
    page.click(".who button")
    page.until("location.pathname === '/sign-in'")
    page.open(f"{front.url}/")
    assert page.value("location.pathname") == "/sign-in"


def test_a_run_is_seen_as_it_happens(visitor: Visitor, front: Front, vendor: Vendor) -> None:
    calls = {"type": "http.request", "with": call(vendor.url, sleep=2.5)}
    workflow = save(front, "watched", [{"id": "first", **calls}, {"id": "last", "needs": ["first"], **calls}])
    page = visitor.signed_in("/?text=watched")
    page.until("document.querySelector('#live').textContent === 'live'")
    page.value("window.same = 1")
    run = start(front, workflow, wait=False)
    page.until("document.querySelector('td .badge.s-running')", 10)
    page.click("a.cover")
    page.until(f"location.pathname === '/runs/{run}' && document.readyState === 'complete'")
    page.until("document.querySelector('.box.s-running[data-step=first]')")
    page.until("document.querySelector('.box.s-succeeded[data-step=first]')")
    page.until("document.querySelector('#events').innerText.includes('first')")
    page.until("document.querySelector('.run-head .badge.s-succeeded')")
    page.until(
        "[...document.querySelectorAll('h2')].some(e => e.innerText === 'Output')"
        " && !document.querySelector('[data-when-over]')"
    )
    kinds = page.value("[...document.querySelectorAll('#events .type')].map(e => e.textContent)")
    assert kinds == ["run.accepted", "run.started", "step.succeeded", "step.succeeded", "run.succeeded"]
    page.click(".box[data-step=last]")
    page.until("document.querySelector('#step').innerText.includes('\"status\": 200')")
    assert page.value("location.search") == "?step=last"
    page.value("history.back()")
    page.until("location.search === ''")


def test_a_list_of_runs_moves_without_being_loaded_again(visitor: Visitor, front: Front) -> None:
    workflow = save(front, "moving", [{"id": "one", "type": "transform", "with": {"jq": "1"}}])
    page = visitor.signed_in("/?text=moving")
    page.until("document.querySelector('#live').textContent === 'live'")
    page.value("window.same = 1")
    start(front, workflow)
    page.until("document.querySelectorAll('table.runs tbody tr').length === 1")
    assert page.value("window.same") == 1


def test_items_of_a_foreach_and_their_errors_are_found(visitor: Visitor, front: Front, vendor: Vendor) -> None:
    each = {
        "id": "each",
        "type": "foreach",
        "with": {"items": "${{ input.list }}", "as": "n", "on_item_error": "collect"},
        "steps": [{"id": "ask", "type": "http.request", "with": call(vendor.url, status="${{ n }}")}],
    }
    run = start(front, save(front, "items", [each]), {"list": [*[200] * 13, 404]})
    page = visitor.signed_in(f"/runs/{run}?step=each")
    assert "13 of 14 items" in page.text(".timeline") or "14 of 14 items, 1 failed" in page.text(".timeline")
    page.until("document.querySelectorAll('.items tbody tr').length === 10")
    page.click(".pager a")
    page.until("document.querySelectorAll('.items tbody tr').length === 4")
    page.click("#step .chips a[href*='state=failed']")
    page.until("document.querySelectorAll('.items tbody tr').length === 1")
    page.open(f"{front.url}/runs/{run}?step=each%2Fask&item=13")
    told = page.text("#step")
    assert "404" in told
    assert "each/ask" in told
    page.open(f"{front.url}/runs/{run}?step=nothing")
    assert "has no step nothing" in page.text("#step")


def test_a_run_tells_what_it_waits_for_and_which_way_it_went(visitor: Visitor, front: Front) -> None:
    shape = {"type": "transform", "with": {"input": 1, "jq": "."}}
    poll = {
        "id": "poll",
        "type": "until",
        "until": "${{ iteration.index == 1 }}",
        "steps": [{"id": "look", **shape}],
    }
    rest = {"id": "rest", "type": "wait", "with": {"duration": "4s"}}
    pay = {"id": "pay", "needs": ["rest"], "type": "fail", "with": {"code": "NO_STOCK", "message": "gone"}}
    guarded = {
        "id": "guarded",
        "type": "try",
        "needs": ["poll"],
        "steps": [rest, {"id": "long", "type": "wait", "with": {"duration": "1h"}}, pay],
        "catch": [
            {"errors": ["HTTP_*"], "steps": [{"id": "again", **shape}]},
            {"as": "problem", "steps": [{"id": "tell", **shape}]},
        ],
    }
    run = start(front, save(front, "waiting", [poll, guarded]), wait=False)
    page = visitor.signed_in(f"/runs/{run}?step=guarded%2Ftry%2Frest")
    page.until("document.querySelector('.box.s-waiting[data-step=\"guarded/try/rest\"]')")
    page.until("document.querySelector('#part > [data-slot=head]').innerText.includes('waits for guarded/try/rest')")
    assert " min" in page.value("document.querySelector('.box[data-step=\"guarded/try/long\"] .line').textContent")
    assert page.value("[...document.querySelectorAll('.graph .branch text')].map(e => e.textContent)") == [
        "try",
        "catch 1: HTTP_*",
        "catch 2: any error",
    ]
    page.until("document.querySelector('.run-head .badge.s-succeeded')")
    timeline = page.text(".timeline")
    for told in ("2 iterations", "stopped: pay failed", "not for this error"):
        assert told in timeline
    page.open(f"{front.url}/runs/{run}?step=guarded%2Fcatch1%2Ftell")
    panel = page.text("#step")
    assert "Caught problem" in panel
    assert '"code": "NO_STOCK"' in panel
    page.open(f"{front.url}/runs/{run}?step=poll")
    page.until("document.querySelectorAll('.items tbody tr').length === 2")
    assert "Iterations" in page.text("#step")


FORM = {
    "type": "object",
    "required": ["who", "count", "size"],
    "properties": {
        "who": {"type": "string", "pattern": "^[A-Z]", "description": "With a capital letter."},
        "count": {"type": "integer", "maximum": 10},
        "size": {"enum": ["small", "large"]},
        "sure": {"type": "boolean", "default": True},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "token": {"type": "string", "x-sensitive": True},
        "place": {"type": "object", "properties": {"city": {"type": "string"}}},
        "list": {"type": "object", "description": "A file."},
    },
}


def test_a_form_made_from_the_schema_starts_a_run(visitor: Visitor, front: Front, tmp_path: Path) -> None:
    steps = [{"id": "rows", "type": "csv.read", "with": {"file": "${{ input.list }}"}}]
    workflow = save(front, "formed", steps, input={"schema": FORM}, output={"rows": "${{ steps.rows.output.total }}"})
    page = visitor.signed_in(f"/workflows/{workflow}")
    assert page.value("document.querySelector('[name=\"/token\"]').type") == "password"
    assert page.value("document.querySelector('[name=\"/sure\"]').value") == "true"
    page.write("[name='/who']", "ada")
    page.write("[name='/count']", "3")
    page.value("document.querySelector('[name=\"/size\"]').value = '\"large\"'")
    page.write("[name='/tags']", "a\nb")
    page.write("[name='/token']", "very-secret-token")
    page.write("[name='/place/city']", "Ulm")
    page.click(".input-form button.main")
    page.until("document.querySelector('.field.wrong')")
    assert "pattern" in page.text(".field.wrong .problem")
    assert page.value("document.querySelector('[name=\"/tags\"]').value") == "a\nb"
    assert page.complaints.pop().startswith("Failed to load resource: the server responded with a status of 422")
    (tmp_path / "list.csv").write_text("name\nAda\nGrace\n")
    page.write("[name='/who']", "Ada")
    page.write("[name='/token']", "very-secret-token")
    page.upload("[name='/list#file']", tmp_path / "list.csv")
    page.click(".input-form button.main")
    page.until("location.pathname.startsWith('/runs/')")
    page.until("document.querySelector('.run-head .badge.s-succeeded')", 20)
    page.until("document.body.innerText.includes('\"rows\": 2')")
    shown = page.text()
    assert "very-secret-token" not in shown
    assert '"city": "Ulm"' in shown
    assert '"tags": [' in shown


def test_a_workflow_is_checked_while_it_is_written_then_saved(visitor: Visitor, front: Front) -> None:
    page = visitor.signed_in("/workflows/new")
    text = page.value("document.querySelector('#source').value").replace("name: hello", "name: written")
    page.write("#source", text.replace("type: transform", "type: transfrom"))
    page.until("document.querySelector('#problems .problems a')")
    line = text.split("\n").index("    type: transform") + 1
    assert f"Line {line}, column 11" in page.text("#problems")
    page.click("#problems a[data-line]")
    before = page.value(
        "document.querySelector('#source').value.slice(0, document.querySelector('#source').selectionStart)"
    )
    assert before.endswith("type: ")
    page.write("#source", text)
    page.until("document.querySelector('#problems').innerText.includes('No problems')")
    page.click("button[value=publish]")
    page.until("location.pathname.startsWith('/workflows/0') && document.querySelector('.badge.s-published')")
    page.click(".input-form button.main")
    page.until("document.querySelector('.run-head .badge.s-succeeded')", 20)
    page.until('document.body.innerText.includes(\'"greeting": "Hello, world!"\')')


def test_tenants_data_are_text_wherever_they_are_shown(visitor: Visitor, front: Front, vendor: Vendor) -> None:
    steps = [
        {"id": "out", "type": "transform", "with": {"jq": "{(.input.text): .input.text}"}},
        {
            "id": "bad",
            "type": "http.request",
            "with": call(vendor.url, status=404, answer=EVIL),
            "on_error": "continue",
        },
    ]
    schema = {
        "type": "object",
        "title": EVIL,
        "properties": {"text": {"type": "string", "description": EVIL, "default": EVIL}},
    }
    workflow = save(front, "evil", steps, description=EVIL, input={"schema": schema})
    run = start(front, workflow, {"text": EVIL})
    page = visitor.signed_in()
    for path in (
        f"/workflows/{workflow}",
        "/workflows",
        f"/workflows/{workflow}/edit",
        f"/runs/{run}?step=out",
        f"/runs/{run}?step=bad",
        f"/?text={run[:13]}",
        "/?text=%3C/script%3E%3Cimg%20src=x%20onerror=window.hacked=1%3E",
    ):
        page.open(front.url + path)
        assert page.value("window.hacked") is None
        assert page.value("document.querySelectorAll('img:not([src^=\"/page/\"]), b[onmouseover]').length") == 0
    page.open(f"{front.url}/runs/{run}?step=out")
    assert "onerror='window.hacked=1'" in page.text("#step")
    live = start(front, workflow, {"text": EVIL}, wait=False)
    page.open(f"{front.url}/runs/{live}")
    page.until("document.querySelector('.run-head .badge.s-succeeded')")
    assert page.value("window.hacked") is None


def test_without_scripts_everything_can_be_done(visitor: Visitor, front: Front, vendor: Vendor) -> None:
    workflow = save(front, "plain", [{"id": "wait", "type": "http.request", "with": call(vendor.url, sleep=3)}])
    page = visitor.signed_in(f"/workflows/{workflow}", scripts=False)
    page.click(".input-form button.main")
    page.until("location.pathname.startsWith('/runs/')")
    page.click(".timeline a")
    page.until("location.search === '?step=wait' && document.querySelector('#step').innerText.includes('http.request')")
    page.click("button.danger")
    page.until("!!document.querySelector('.run-head .badge')")
    page.click(".crumbs a")
    page.until("document.querySelector('table.runs')")


def test_a_keyboard_reaches_the_steps_and_every_control_has_a_name(visitor: Visitor, front: Front) -> None:
    workflow = save(front, "keys", [{"id": "one", "type": "transform", "with": {"jq": "1"}}], input={"schema": FORM})
    run = start(front, workflow, {"who": "A", "count": 1, "size": "small"})
    page = visitor.signed_in(f"/runs/{run}")
    for _ in range(30):
        page.press("Tab")
        if page.value("document.activeElement.dataset && document.activeElement.dataset.step") == "one":
            break
    page.press("Enter")
    page.until(
        "document.querySelector('#step').innerText.includes('transform') && document.activeElement.id === 'step'"
    )
    for path in (f"/runs/{run}", "/", f"/workflows/{workflow}", "/workflows/new"):
        page.open(front.url + path)
        nodes = page.send("Accessibility.getFullAXTree")["nodes"]
        controls = ("link", "button", "textbox", "searchbox", "combobox", "spinbutton")
        named = [
            (each["role"]["value"], each.get("name", {}).get("value", ""))
            for each in nodes
            if not each["ignored"] and each["role"]["value"] in controls
        ]
        assert len(named) > 5
        assert [each for each in named if not each[1].strip()] == []


def test_a_phone_shows_it_without_scrolling_sideways(visitor: Visitor, front: Front) -> None:
    steps = [{"id": "a_step_with_quite_a_long_name", "type": "transform", "with": {"jq": "[range(300)] | tostring"}}]
    workflow = save(front, "narrow", steps, input={"schema": FORM}, description="word " * 60)
    run = start(front, workflow, {"who": "A", "count": 1, "size": "small"})
    page = visitor.signed_in(width=390, height=844)
    for path in ("/", f"/runs/{run}?step={steps[0]['id']}", f"/workflows/{workflow}", "/workflows", "/workflows/new"):
        page.open(front.url + path)
        assert page.value("document.documentElement.scrollWidth") <= 390, path


def test_the_reference_reads_well_and_is_tried_without_a_key_by_who_is_signed_in(visitor: Visitor) -> None:
    page = visitor.signed_in("/docs", width=390, height=800)
    page.until("document.querySelectorAll('details.operation').length > 20")
    assert page.value("document.documentElement.scrollWidth") <= 390
    told = page.value(
        "[...document.querySelectorAll('details.operation summary span:last-child')].map(e => e.innerText)"
    )
    assert not [each for each in told if not each.endswith(".")]
    page.click("details.operation[id^='list_all'] summary")
    page.click("details.operation[id^='list_all'] .try button")
    page.until("document.querySelector('details[open] .try pre').innerText.startsWith('200')")
    page.click("h1 a")
    page.until("location.pathname === '/' && document.querySelector('h1').innerText === 'Runs'")
