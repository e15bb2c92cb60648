"""Workflows over HTTP: every way to save one, its versions, and what ends it."""

import pytest

from tests.integration.api.front import Front, hello
from tests.integration.vendor import Vendor


def test_a_workflow_from_its_first_version_to_its_end(front: Front, other: Front) -> None:
    made = front.ask("POST", "/v2/workflows", {"source": hello("life")})
    assert made.status_code == 201
    path = made.headers["location"]
    assert (
        made.json()["data"] | {"status": "draft", "published_version": None, "latest_version": 1} == made.json()["data"]
    )
    assert front.refused(409, "NAME_TAKEN", "POST", "/v2/workflows", {"source": hello("life")})["hint"]
    other.refused(404, "NOT_FOUND", "GET", path)
    other.refused(404, "NOT_FOUND", "PUT", path, {"source": hello("life")})
    other.refused(404, "NOT_FOUND", "DELETE", path)

    read = front.ask("GET", path)
    assert read.headers["etag"] == '"1"'
    assert read.json()["data"]["source"] == hello("life")
    changed = {"source": hello("life", "Good day"), "publish": True}
    assert front.want(200, "PUT", path, changed, headers={"If-Match": read.headers["etag"]})["published_version"] == 2
    late = front.refused(412, "VERSION_CHANGED", "PUT", path, changed, headers={"If-Match": '"1"'})
    assert "newest version is 2" in late["message"]
    front.refused(422, "VALIDATION_ERROR", "PUT", path, changed, headers={"If-Match": "yesterday"})
    assert front.want(200, "PUT", path, changed, headers={"If-Match": "*"})["latest_version"] == 2

    assert [each["number"] for each in front.get(f"{path}/versions")] == [2, 1]
    assert front.get(f"{path}/versions", params={"page": 9}) == []
    assert front.get(f"{path}/versions/1")["source"] == hello("life")
    assert front.get(path, params={"version": 1})["version"]["number"] == 1
    for wrong in ("3", "0", "x", "99999999999"):
        front.refused(404, "NOT_FOUND", "GET", f"{path}/versions/{wrong}")
    diff = front.get(f"{path}/diff", params={"from": 1, "to": 2})
    assert "-" in diff["text"]
    assert [each["path"] for each in diff["steps"]] == ["greet"]
    front.refused(422, "VALIDATION_ERROR", "GET", f"{path}/diff", params={"from": 1})

    assert front.want(200, "POST", f"{path}/publish", {"version": 1})["published_version"] == 1
    front.refused(404, "NOT_FOUND", "POST", f"{path}/publish", {"version": 7})
    assert front.want(200, "POST", f"{path}/archive")["status"] == "archived"
    front.refused(409, "ARCHIVED", "POST", f"{path}/run", {})
    assert front.want(200, "POST", f"{path}/publish")["published_version"] == 2
    assert front.ask("DELETE", path).status_code == 204
    for method, end in (("GET", ""), ("DELETE", ""), ("POST", "/run"), ("POST", "/publish"), ("GET", "/versions")):
        front.refused(404, "NOT_FOUND", method, path + end)
    front.create(hello("life"))  # the name is free again


def test_the_three_forms_of_a_definition_are_saved_as_one(front: Front) -> None:
    yaml = front.want(
        201, "POST", "/v2/workflows?publish=true", content=hello("forms"), headers={"Content-Type": "application/yaml"}
    )
    assert yaml["status"] == "published"
    path = f"/v2/workflows/{yaml['id']}"
    assert front.want(200, "PUT", path, {"source": hello("forms")})["latest_version"] == 1
    definition = front.get(path)["definition"]
    assert front.want(200, "PUT", path, {"definition": {"nexusflow": "1", **definition}})["latest_version"] == 2
    assert front.get(f"{path}/versions/2")["definition"] == definition
    both = {"source": hello("forms"), "definition": definition}
    assert "either" in front.refused(422, "VALIDATION_ERROR", "PUT", path, both)["details"][0]["message"]


def test_problems_of_a_definition_have_their_places(front: Front) -> None:
    wrong = hello("wrong").replace("transform", "transfrom")
    error = front.refused(422, "INVALID_DEFINITION", "POST", "/v2/workflows", {"source": wrong})
    (problem,) = error["details"]
    assert (problem["path"], problem["line"]) == ("/steps/0/type", 9)
    assert "transform" in problem["hint"]
    checked = front.want(200, "POST", "/v2/workflows:validate", {"source": wrong})
    assert (checked["valid"], checked["problems"]) == (False, [problem])
    shape = {"nexusflow": "1", "name": "x", "steps": [{"id": "a", "type": "nothing"}]}
    (problem,) = front.want(200, "POST", "/v2/workflows:validate", {"definition": shape})["problems"]
    assert (problem["path"], problem["line"]) == ("/steps/0/type", None)
    assert front.want(200, "POST", "/v2/workflows:validate", {"source": hello("right")})["valid"]


@pytest.mark.parametrize(("form", "word"), [("text", "1 step"), ("mermaid", "flowchart"), ("canvas", "run_segment")])
def test_a_definition_is_compiled_and_not_saved(form: str, word: str, front: Front) -> None:
    drawn = front.want(200, "POST", "/v2/workflows:compile", {"source": hello("drawn")}, params={"format": form})
    assert word in drawn["plan"]
    plan = front.want(200, "POST", "/v2/workflows:compile", {"source": hello("drawn")}, params={"format": "json"})[
        "plan"
    ]
    assert "segments" in plan
    assert front.get("/v2/workflows", params={"text": "drawn"}) == []


def test_runs_of_a_deleted_workflow_finish_and_stay_readable(front: Front, vendor: Vendor) -> None:
    source = {"nexusflow": "1", "name": "doomed", "steps": [vendor.step("slow", body={"sleep": 1.0})]}
    workflow = front.want(201, "POST", "/v2/workflows", {"definition": source})["id"]
    run = front.want(202, "POST", f"/v2/workflows/{workflow}/run", {})["id"]
    assert front.ask("DELETE", f"/v2/workflows/{workflow}").status_code == 204
    front.refused(404, "NOT_FOUND", "POST", f"/v2/workflows/{workflow}/run", {})
    for _ in range(100):
        if front.get(f"/v2/runs/{run}")["finished_at"]:
            break
    found = front.get("/v2/runs", params={"workflow": workflow})
    assert [(each["id"], each["workflow"]) for each in found] == [(run, "doomed")]


def test_workflows_are_listed_in_pages(front: Front, other: Front) -> None:
    names = [f"listed-{letter}" for letter in "abcde"]
    for name in names:
        front.create(hello(name), publish=name != names[0])
    query = {"text": "listed-", "sort": "-name", "per_page": 2}
    first = front.ask("GET", "/v2/workflows", params=query).json()
    assert first["pagination"] | {"total": 5, "page": 1, "per_page": 2} == first["pagination"]
    pages, cursor = [first["data"]], first["pagination"]["next_cursor"]
    while cursor:
        page = front.ask("GET", "/v2/workflows", params=query | {"cursor": cursor}).json()
        pages.append(page["data"])
        cursor = page["pagination"]["next_cursor"]
    assert [each["name"] for page in pages for each in page] == names[::-1]
    assert len(front.get("/v2/workflows", params={"text": "listed-", "status": "draft"})) == 1
    assert other.get("/v2/workflows", params={"text": "listed-"}) == []


def test_the_catalogue_says_what_a_step_can_do(front: Front) -> None:
    names = {each["name"] for each in front.get("/v2/actions")}
    assert {"http.request", "transform"} <= names
    assert "url" in front.get("/v2/actions/http.request")["input"]["properties"]
    front.refused(404, "NOT_FOUND", "GET", "/v2/actions/http.requets")
