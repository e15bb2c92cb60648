"""What every action must have, asked of every action in the table."""

import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from nexusflow.connectors.base import Action
from nexusflow.connectors.registry import TABLE, _by_name, actions, get_action
from nexusflow.errors import NotFound
from nexusflow.workflows.language.checks import check
from nexusflow.workflows.language.definition import ActionStep, Definition
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.saved.catalogue import catalogue

ROOT = Path(__file__).parents[3]
QUEUES = {"workflow", "integration", "notification", "any"}
every_action = pytest.mark.parametrize("action", actions(), ids=lambda action: action.name)
EXAMPLES = [path for path in sorted((ROOT / "examples").rglob("*.yaml")) if not path.name.endswith(".test.yaml")]


@every_action
def test_it_has_a_schema_with_a_description_of_every_field(action: Action) -> None:
    for model in filter(None, (action.input, action.output)):
        schema = model.model_json_schema(by_alias=True)
        jsonschema_rs.Draft202012Validator(schema)
        assert schema["additionalProperties"] is False
        undescribed = [name for name, one in schema["properties"].items() if not one.get("description")]
        assert undescribed == []


@every_action
def test_it_has_a_summary_a_queue_and_a_folder_of_its_own(action: Action) -> None:
    assert action.summary.endswith(".")
    assert 10 < len(action.summary) < 100
    assert action.queue in QUEUES
    folder = action.name.split(".")[0]
    assert action.run.__module__ == f"nexusflow.connectors.{folder}.actions"
    assert action.run.__doc__


@every_action
def test_it_has_an_example_that_uses_it(action: Action) -> None:
    name = action.name.replace(".", "-").replace("_", "-")
    path = ROOT / "examples" / "actions" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    definition = Definition.model_validate(load(text, name=path.name).data)
    assert definition.name == name
    assert text.startswith("# yaml-language-server: $schema=../../nexusflow/workflows/definition.schema.json\n")
    assert action.name in {step.type for step in definition.steps if isinstance(step, ActionStep)}


@every_action
def test_it_is_documented(action: Action) -> None:
    assert f"\n## `{action.name}`\n" in (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")


@every_action
def test_it_has_a_test(action: Action) -> None:
    tests = [*ROOT.glob("tests/unit/connectors/test_*.py"), *ROOT.glob("tests/integration/connectors/test_*.py")]
    folder = action.run.__module__.rpartition(".")[0]
    assert any(f"from {folder}" in path.read_text(encoding="utf-8") for path in tests)


@every_action
def test_the_catalogue_tells_the_compiler_about_it(action: Action) -> None:
    info = catalogue()[action.name]
    assert (info.name, info.queue, info.pure, info.connection) == (
        action.name,
        action.queue,
        action.pure,
        action.connection,
    )
    assert info.input == action.input.model_json_schema(by_alias=True)


def test_pure_actions_are_those_without_outside_effect() -> None:
    assert {action.name for action in actions() if action.pure} == {"csv.read", "fail", "transform"}


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'transform'"):
        _by_name((*TABLE, get_action("transform")))


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(NotFound) as caught:
        get_action("http.reqest")
    assert "http.request" in caught.value.hint
    with pytest.raises(NotFound, match="nexusflow actions"):
        get_action("zzz")


def test_the_table_loads_without_the_vendors_sdks() -> None:
    slow = "openai hubspot boto3 botocore httpx2 httpcore2 jsonschema_rs"
    code = f"import sys, nexusflow.connectors.registry; print([m for m in '{slow}'.split() if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_the_checks(path: Path) -> None:
    _, problems = check(load(path.read_bytes(), name=path.name), catalogue())
    assert problems == []
