"""The pages of the language agree with the language: fields, problems, joins, and a page for every word."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from nexusflow.connectors.registry import actions
from nexusflow.workflows.language import definition, limits, words
from nexusflow.workflows.language.definition import CONTROL_TYPES, ActionStep, Definition
from nexusflow.workflows.language.words import Word
from nexusflow.workflows.rows.states import join_met

ROOT = Path(__file__).parents[2]
MAKER = runpy.run_path(str(ROOT / "docs/make_language.py"))
INDEX = ROOT / "docs/language/README.md"
PAGES: list[Path] = MAKER["pages"]()
ON_A_PAGE_TOGETHER = {
    "id": "steps", "needs": "steps", "with": "steps", "type": "steps", "name": "definition", "nexusflow": "definition",
    "description": "definition", "queue_timeout": "timeout", "concurrency": "limits", "rate": "limits",
    "debounce": "limits", "singleton": "limits", "priority": "limits",
}  # fmt: skip
"""Small words and the pages they share; every other word has a page of its name."""
LEAST_WRONG = 5

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@every_page
def test_tables_and_examples_are_what_the_program_says(page: Path) -> None:
    assert text_of(page) == MAKER["redrawn"](text_of(page)), "run python docs/make_language.py"


@every_page
def test_it_has_an_example_a_result_and_a_picture(page: Path) -> None:
    text, name = text_of(page), page.stem
    assert text.count(f"<!-- example: {name} -->\n```yaml\n") == 1
    assert f"nexusflow run examples/language/{name}.yaml\n" in text
    assert f"<!-- nexusflow compile examples/language/{name}.yaml --format mermaid -->\n```mermaid\n" in text
    (result,) = re.findall(r"<!-- result -->\n```yaml\n(.*?)```", text, re.S)
    assert {"status"} < set(yaml.safe_load(result)) <= {"status", "output", "error", "steps", "attempts"}


@every_page
def test_it_tells_at_least_five_wrong_uses_and_each_is_wrong(page: Path) -> None:
    tables = MAKER["WRONG"].findall(text_of(page))
    written = [each for _, _, rows in tables for each in MAKER["wrong_rows"](rows)]
    assert len(written) >= LEAST_WRONG
    assert all(workflow.count("HERE") == 1 for _, workflow, _ in tables)
    assert text_of(page).count(":\n\n<!-- wrong:\n") == len(tables), "say where these stand"
    assert "it is valid" not in text_of(page)


def models() -> set[type[BaseModel]]:
    """The models of the language."""
    return {
        each
        for module in (definition, words, limits)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Word) and each is not Word
    }


def test_every_field_of_the_language_is_told() -> None:
    marks = [spec for page in PAGES for _, spec in MAKER["FIELDS"].findall(text_of(page))]
    told = {(MAKER["_model"](name), field) for spec in marks for name, field, *_ in MAKER["told_fields"](spec)}
    inherited = set(definition.StepBase.model_fields)
    wanted = {
        (model, field.alias or name)
        for model in models()
        for name, field in model.model_fields.items()
        if model is definition.StepBase or not (issubclass(model, definition.StepBase) and name in inherited)
    }
    assert {(model.__name__, field) for model, field in wanted - told} == set()


def test_every_word_and_step_type_has_a_page() -> None:
    simple = {action.name for action in actions() if "." not in action.name}
    fields: dict[str, Any] = {**ActionStep.model_fields, **Definition.model_fields}
    named = {field.alias or name for name, field in fields.items()} | set(CONTROL_TYPES) | simple
    pages = {page.stem for page in PAGES}
    assert {ON_A_PAGE_TOGETHER.get(word, word) for word in named} <= pages
    assert {path.stem for path in (ROOT / "examples/language").glob("*.yaml")} == pages


def test_the_index_lists_every_page_and_the_tour_leads_there() -> None:
    assert set(re.findall(r"\]\((\w+)\.md\)", text_of(INDEX))) == {page.stem for page in PAGES}
    assert "(language/README.md)" in text_of(ROOT / "docs/tour.md")


def test_the_table_of_joins_is_right() -> None:
    text = text_of(ROOT / "docs/language/join.md")
    table = re.findall(r"^\| ((?:\w+, ){2}\w+) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$", text, re.M)
    assert len(table) == 10
    for needs, *verdicts in table:
        joins: tuple[Any, ...] = ("all_success", "all_done", "any_success", {"n": 2})
        runs = [join_met(join, needs.split(", ")) for join in joins]
        assert verdicts == ["runs" if each else "blocked" for each in runs], needs


def test_the_picture_of_the_joins_is_right() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_joins.py"))
    assert made["PICTURE"].read_text(encoding="utf-8") == made["picture"](), "run python docs/make_joins.py"
