"""Forms from schemas: what they show, what a filled one means, where its problems go."""

from typing import Any

import pytest

from api.dashboard.forms import Field, answered, every_field, filled, form_of
from nexusflow.errors import Problem

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", "place"],
    "properties": {
        "name": {"type": "string", "title": "Your name", "maxLength": 50},
        "story": {"type": "string", "maxLength": 5000},
        "age": {"type": ["integer", "null"], "minimum": 0},
        "rate": {"type": "number", "default": 0.5},
        "sure": {"type": "boolean", "default": False},
        "size": {"enum": ["s", "m", 3], "default": "m"},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}, "default": ["a", "b"]},
        "counts": {"type": "array", "items": {"type": "integer"}},
        "secret": {"type": "string", "x-sensitive": True, "default": "hidden"},
        "place": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": "string"}, "a/b~c": {"type": "string"}},
        },
        "list": {"type": "object"},
        "shape": {"anyOf": [{"type": "string"}, {"type": "array"}]},
        "rows": {"type": "array", "items": {"type": "object"}},
    },
}


def fields() -> dict[str, Field]:
    return {each.name: each for each in every_field(form_of(SCHEMA))}


def test_each_kind_of_value_has_its_field() -> None:
    kinds = {name: each.kind for name, each in fields().items()}
    assert kinds == {
        "/name": "text",
        "/story": "long",
        "/age": "number",
        "/rate": "number",
        "/sure": "yesno",
        "/size": "choice",
        "/day": "text",
        "/tags": "lines",
        "/counts": "lines",
        "/secret": "text",
        "/place/city": "text",
        "/place/a~1b~0c": "text",
        "/list": "upload",
        "/shape": "json",
        "/rows": "json",
    }
    assert fields()["/secret"].type == "password"
    assert fields()["/secret"].value == "", "a secret is never written into a page"
    assert (fields()["/sure"].value, fields()["/size"].value, fields()["/rate"].value) == ("false", '"m"', "0.5")
    assert fields()["/name"].label == "Your name"
    assert [name for name, each in fields().items() if each.is_required] == ["/name", "/place/city"]
    assert dict(fields()["/age"].attributes) == {"step": "1", "min": "0"}


def test_nothing_is_required_in_a_group_that_may_be_left_out() -> None:
    inner = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
    (city,) = every_field(form_of({"type": "object", "properties": {"place": inner}}))
    assert not city.is_required
    assert filled(form_of({"type": "object", "properties": {"place": inner}}), {}, {}).value == {}


def test_a_filled_form_is_the_input_it_means() -> None:
    given = {
        "/name": "Ada ",
        "/age": "36",
        "/rate": "2.50",
        "/sure": "true",
        "/size": "3",
        "/tags": "x\r\n\r\ny ",
        "/counts": "1\n2",
        "/place/a~1b~0c": "deep",
        "/shape": '["s"]',
        "/list": "",
    }
    found = filled(form_of(SCHEMA), given, {"/rows": [{}]})
    assert found.problems == []
    assert found.value == {
        "name": "Ada ",
        "age": 36,
        "rate": 2.5,
        "sure": True,
        "size": 3,
        "tags": ["x", "y"],
        "counts": [1, 2],
        "place": {"a/b~c": "deep"},
        "shape": ["s"],
        "rows": [{}],
    }


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("/age", "many", "whole number"),
        ("/age", "1e3x", "whole number"),
        ("/rate", "1e999", "can be kept"),
        ("/shape", "{", "no JSON"),
        ("/shape", "NaN", "no JSON"),
        ("/shape", "[" * 100_000, "nested too deeply"),
        ("/counts", "1\nx", "whole number"),
    ],
)
def test_what_cannot_be_understood_is_told_at_its_field(name: str, text: str, told: str) -> None:
    (problem,) = filled(form_of(SCHEMA), {name: text}, {}).problems
    assert problem.path == name
    assert told in problem.message


def test_problems_stand_at_their_fields_and_what_was_given_stays() -> None:
    def problem(path: str, message: str) -> Problem:
        return Problem(path, None, None, "INVALID_INPUT", message)

    problems = [
        problem("", "'name' is missing."),
        problem("/place", "'city' is missing in 'place'."),
        problem("/tags/0", "Item 0 is too long."),
        problem("", "Too few fields."),
    ]
    given = {"/story": "Once", "/secret": "abcd"}
    form, others = answered(form_of(SCHEMA), given, problems)
    at = {each.name: each.problems for each in every_field(form) if each.problems}
    assert at == {"/name": ("Give a value.",), "/place/city": ("Give a value.",), "/tags": ("Item 0 is too long.",)}
    assert [each.message for each in others] == ["Too few fields."]
    values = {each.name: each.value for each in every_field(form)}
    assert (values["/story"], values["/secret"]) == ("Once", "")


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}, {"anyOf": []}])
def test_a_schema_without_fields_is_a_box_for_json(schema: dict[str, Any]) -> None:
    form = form_of(schema)
    assert form.kind == "json"
    assert filled(form, {}, {}).value == {}
    assert filled(form, {"": '{"a": 1}'}, {}).value == {"a": 1}
