"""compile, actions and init."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nexusflow.cli.actions import example
from nexusflow.connectors.base import Action
from nexusflow.connectors.registry import actions
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.language.definition import SCHEMA_FILE
from nexusflow.workflows.saved.catalogue import catalogue
from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]


@pytest.mark.parametrize(
    ("form", "wanted"),
    [("text", "good: 2 steps in 1 segment"), ("mermaid", "flowchart TB"), ("canvas", "tasks.workflow.run_segment(")],
)
def test_compile_shows_the_plan(nexusflow: Nexusflow, good: Path, form: str, wanted: str) -> None:
    answer = nexusflow("compile", str(good), "--format", form)
    assert answer.code == 0
    assert wanted in answer.out


def test_compile_as_json_is_one_document(nexusflow: Nexusflow, good: Path) -> None:
    answer = nexusflow("compile", str(good), "-f", "json")
    assert [step["path"] for step in json.loads(answer.out)["steps"]] == ["one", "two"]
    assert answer.err == ""


def test_compile_refuses_what_is_not_valid(nexusflow: Nexusflow, bad: Path) -> None:
    answer = nexusflow("compile", "bad.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert "bad.yaml:4:22: " in answer.err


def test_actions_lists_all_of_them(nexusflow: Nexusflow) -> None:
    answer, document = nexusflow("actions"), nexusflow("actions", "--json").json
    assert [each["name"] for each in document] == [action.name for action in actions()]
    for action in actions():
        assert action.name in answer.out
        assert action.summary in answer.out


@pytest.mark.parametrize("action", actions(), ids=lambda action: action.name)
def test_one_action_shows_its_fields_and_a_valid_example(nexusflow: Nexusflow, action: Action) -> None:
    answer = nexusflow("actions", action.name)
    assert answer.code == 0
    for field in action.input.model_json_schema(by_alias=True)["properties"]:
        assert f"\n{field} " in answer.out
    assert example(action) in answer.out
    parse_definition(example(action), catalogue())
    assert set(nexusflow("actions", action.name, "--json").json) >= {"name", "input", "output", "example", "queue"}


def test_an_unknown_action_gets_the_nearest_names(nexusflow: Nexusflow) -> None:
    answer = nexusflow("actions", "http.requst")
    assert answer.code == 2
    assert "http.request" in answer.err


def test_init_writes_a_valid_workflow_for_editors(nexusflow: Nexusflow) -> None:
    answer = nexusflow("init", "My flow.yaml")
    assert answer.code == 0
    text = Path("My flow.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE.as_uri()}\n")
    assert parse_definition(text, catalogue()).name == "my-flow"
    assert "nexusflow run 'My flow.yaml'" in answer.out


def test_init_never_overwrites(nexusflow: Nexusflow) -> None:
    Path("workflow.yaml").write_text("mine")
    answer = nexusflow("init")
    assert answer.code == 2
    assert "workflow.yaml is there already." in answer.err
    assert Path("workflow.yaml").read_text() == "mine"
    assert nexusflow("init", "no/such/folder.yaml").code == 2
