from typing import Any

import pytest

from nexusflow.schemas import check_schema, keeping, mask, sensitive_leaves, sensitive_pointers, validate


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"const": {"$ref": "https://example.com"}}}},
        {"$defs": {"a b": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a%20b"}}},
        {"properties": {"x": {"pattern": "^[a-z]+$", "x-sensitive": True}}},
    ],
)
def test_usable_schemas(schema: dict[str, Any]) -> None:
    assert check_schema(schema) == []


@pytest.mark.parametrize(
    ("schema", "pointer", "part"),
    [
        ([], "", "mapping"),
        ({"type": "strng"}, "/type", "strng"),
        ({"properties": {"a": 5}}, "/properties/a", "5"),
        ({"properties": {"a": {"minLength": -1}}}, "/properties/a/minLength", "-1"),
        ({"$ref": "https://example.com/x"}, "/$ref", "leaves the schema"),
        ({"$ref": "file:///etc/passwd"}, "/$ref", "leaves the schema"),
        ({"items": {"$ref": "other.json"}}, "/items/$ref", "leaves the schema"),
        ({"$ref": "#/$defs/none"}, "/$ref", "names no schema"),
        ({"$ref": "#/x", "x": {"$ref": "https://example.com"}}, "/$ref", "names no schema"),
        ({"$dynamicRef": "#a"}, "/$dynamicRef", "not supported"),
        ({"properties": {"a": {"$id": "https://example.com"}}}, "/properties/a/$id", "not supported"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "2020-12"),
        ({"x-sensitive": "yes"}, "/x-sensitive", "true or false"),
        ({"pattern": "(?<=a)b"}, "/pattern", "cannot be used"),
        ({"pattern": "(a)\\1"}, "/pattern", "cannot be used"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "/pattern", "cannot be used"),
        ({"patternProperties": {"(?=a)b": {}}}, "/patternProperties/(?=a)b", "cannot be used"),
        ({"$ref": "#"}, "/$ref", "back to itself"),
        ({"$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}}, "/$defs/n/properties/next/$ref", "itself"),
        ({"description": "x" * 70_000}, "", "bytes long"),
    ],
)
def test_schemas_that_are_refused(schema: Any, pointer: str, part: str) -> None:
    (problem,) = check_schema(schema)
    assert problem.pointer == pointer
    assert part in problem.message


@pytest.mark.timeout(5)
@pytest.mark.parametrize(("levels", "width"), [(40, 2), (6, 8), (400, 1)])
def test_references_that_multiply_are_refused(levels: int, width: int) -> None:
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * width} for n in range(levels)}
    (problem,) = check_schema({"$ref": "#/$defs/d0", "$defs": {**defs, f"d{levels}": {}}})
    assert problem.keyword == "$ref"


@pytest.mark.timeout(5)
def test_patterns_end_in_linear_time() -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    assert check_schema(schema) == []
    assert len(validate(schema, {"a": "a" * 100_000 + "b"})) == 1


SECRET = {"$ref": "#/$defs/secret"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "additionalProperties": False,
    "$defs": {"secret": {"type": "string", "minLength": 8, "x-sensitive": True}},
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "email": {"type": "string", "format": "email"},
        "size": {"enum": ["S", "M", "L"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "password": SECRET,
        "list": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "object", "properties": {"pin": {"$ref": "#/$defs/secret"}}},
        },
        "form": {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "array"}]},
    },
}


@pytest.mark.parametrize(
    ("value", "pointer", "message"),
    [
        ({}, "", "'id' is missing."),
        ({"id": "x"}, "/id", "'id' is \"x\"; it must be a whole number."),
        ({"id": 0}, "/id", "'id' is 0; it must be at least 1."),
        ({"id": 1, "emial": "x"}, "/emial", "There is no field 'emial'."),
        ({"id": 1, "email": "x"}, "/email", "'email' is \"x\"; it must be a valid e-mail address."),
        ({"id": 1, "email": "a@b"}, "/email", "'email' is \"a@b\"; it must be a valid e-mail address."),
        ({"id": 1, "size": "XL"}, "/size", '\'size\' is "XL"; it must be one of "S", "M" or "L".'),
        ({"id": 1, "note": 5}, "/note", "'note' is 5; it must be text or null."),
        ({"id": 1, "list": [1]}, "/list/0", "Item 0 is 1; it must be an object."),
        ({"id": 1, "list": [{}, {}, {}]}, "/list", "'list' is a list; it must have at most 2 items."),
        ({"id": 1, "form": {"b": 1}}, "/form", "'a' is missing in 'form'."),
        ([], "", "The value is a list; it must be an object."),
        ({"id": 1, "email": "x" * 90}, "/email", "'email' is \"" + "x" * 39 + "…; it must be a valid e-mail address."),
    ],
)
def test_messages(value: Any, pointer: str, message: str) -> None:
    (problem,) = validate(SCHEMA, value)
    assert (problem.pointer, problem.message) == (pointer, message)


def test_a_field_with_a_slip_is_suggested() -> None:
    assert validate(SCHEMA, {"id": 1, "emial": "x"})[0].hint == "Did you mean 'email'?"


def test_all_problems_of_a_value_come_at_once_up_to_a_limit() -> None:
    assert len(validate(SCHEMA, {"id": "x", "size": 1, "note": 2, "other": 3})) == 4
    assert len(validate({"items": {"type": "string"}}, list(range(1_000)))) == 50


def test_sensitive_values_are_never_shown() -> None:
    value = {"id": 1, "password": "hunter2", "list": [{"pin": "4711"}]}
    found = validate(SCHEMA, value)
    assert sorted(problem.pointer for problem in found) == ["/list/0/pin", "/password"]
    assert not any("hunter2" in problem.message or "4711" in problem.message for problem in found)


def test_sensitive_values_are_masked() -> None:
    value = {"id": 1, "password": "hunter2!", "list": [{"pin": "4711", "x": 1}]}
    assert sensitive_pointers(SCHEMA) == ("/list/*/pin", "/password")
    assert mask(SCHEMA, value) == {"id": 1, "password": "***", "list": [{"pin": "***", "x": 1}]}
    assert value["password"] == "hunter2!"
    assert mask({}, value) is value
    assert list(sensitive_leaves(SCHEMA, value)) == ["hunter2!", "4711"]
    assert list(sensitive_leaves({"x-sensitive": True}, value)) == [1, "hunter2!", "4711", 1]
    assert list(sensitive_leaves({}, value)) == []


@pytest.mark.parametrize(
    ("schema", "masked"),
    [
        ({"x-sensitive": True}, "***"),
        ({"additionalProperties": {"x-sensitive": True}}, {"a": "***", "b": "***"}),
        ({"patternProperties": {"^a": {"x-sensitive": True}}}, {"a": "***", "b": "***"}),
        ({"allOf": [{"properties": {"a": {"x-sensitive": True}}}]}, {"a": "***", "b": [1, 2]}),
        ({"if": {}, "then": {"properties": {"b": {"x-sensitive": True}}}}, {"a": {"c": 1}, "b": "***"}),
        ({"properties": {"b": {"prefixItems": [{"x-sensitive": True}]}}}, {"a": {"c": 1}, "b": ["***", 2]}),
        ({"properties": {"a": {"properties": {"c": {"x-sensitive": True}}}}}, {"a": {"c": "***"}, "b": [1, 2]}),
    ],
)
def test_masking_reaches_every_branch(schema: dict[str, Any], masked: Any) -> None:
    shown = mask(schema, {"a": {"c": 1}, "b": [1, 2]})
    assert shown == masked


def test_few_large_schemas_are_kept_at_once() -> None:
    made: list[str] = []

    def make(text: str) -> int:
        made.append(text)
        return len(text)

    kept = keeping.kept_by_size(make)
    small, large = [f"{n}" for n in range(50)], ["x" * (keeping.LARGE + n + 1) for n in range(50)]
    for text in (*small, *large, *small, *large[-keeping.LARGE_ONES :]):
        assert kept(text) == len(text)
    assert len(made) == 100
    kept(large[0])
    assert len(made) == 101
