"""What a tenant's JSON Schema may hold, so that validating with it ends soon and reaches nothing outside of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from nexusflow.pointers import child

MAX_SCHEMA_BYTES = 65_536
MAX_EXPANDED = 2_000
"""References followed when every ``$ref`` is replaced by what it names: a few lines can name billions."""
MAX_CHAIN = 50
"""References that lead from one to the next."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SINGLE = (
    *("items", "contains", "unevaluatedItems"),
    *("additionalProperties", "unevaluatedProperties", "propertyNames"),
    *("not", "if", "then", "else"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")


@dataclass(frozen=True)
class SchemaProblem:
    """What is wrong with a value or a schema: JSON Pointer in it, a sentence, the keyword that says so, what to do.

    ``pointer`` of a missing field is its holder's. ``branches``: for anyOf and oneOf, the problems of each form.
    """

    pointer: str
    message: str
    keyword: str
    hint: str = ""
    branches: tuple[tuple["SchemaProblem", ...], ...] = ()


def check_schema(schema: Any) -> list[SchemaProblem]:
    """What is wrong with a tenant's JSON Schema, or cannot be allowed in one; empty where it can be used."""
    if not isinstance(schema, Mapping):
        return [SchemaProblem("", "A schema is a mapping, such as {type: object, properties: …}.", "type")]
    size = len(json.dumps(schema))
    if size > MAX_SCHEMA_BYTES:
        message = f"The schema is {size:,} bytes long; {MAX_SCHEMA_BYTES:,} are allowed."
        return [SchemaProblem("", message, "size", "Simplify it.")]
    nodes = dict(_nodes(schema))
    found = [problem for pointer, node in nodes.items() for problem in _check_node(pointer, node)]
    found += [problem for pointer, node in nodes.items() for problem in _check_reference(schema, nodes, pointer, node)]
    found += _check_meta(schema, {problem.pointer for problem in found})
    return found or _check_expansion(schema) or _check_use(schema)


def _nodes(schema: Any, pointer: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every subschema with its pointer; the schema itself first."""
    if not isinstance(schema, Mapping):
        return
    yield pointer, schema
    for below, inner in subschemas(schema):
        yield from _nodes(inner, pointer + below)


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas directly inside a schema, each with its pointer from there."""
    for word in _NAMED:
        if isinstance(schema.get(word), Mapping):
            yield from ((child(f"/{word}", name), inner) for name, inner in schema[word].items())
    for word in _LISTS:
        if isinstance(schema.get(word), list):
            yield from ((f"/{word}/{index}", inner) for index, inner in enumerate(schema[word]))
    yield from ((f"/{word}", schema[word]) for word in _SINGLE if word in schema)


def _check_reference(
    root: Mapping[str, Any], nodes: Mapping[str, Any], pointer: str, node: Mapping[str, Any]
) -> Iterator[SchemaProblem]:
    target = node.get("$ref")
    if not isinstance(target, str):
        return
    if target != "#" and not target.startswith("#/"):
        hint = "Put what it names under $defs and refer to it as #/$defs/<name>."
        message = f"The reference {target[:100]} leaves the schema; nothing is fetched from elsewhere."
        yield SchemaProblem(f"{pointer}/$ref", message, "$ref", hint)
    elif unquote(target[1:]) not in nodes and not isinstance(resolve_pointer(root, target), bool):
        message = f"The reference {target[:100]} names no schema in this one."
        yield SchemaProblem(f"{pointer}/$ref", message, "$ref", "It is written like #/$defs/<name>.")


def _check_node(pointer: str, node: Mapping[str, Any]) -> Iterator[SchemaProblem]:
    for word in ("$dynamicRef", "$id" if pointer else "", "$vocabulary"):
        if word in node:
            hint = "Use $ref with $defs."
            yield SchemaProblem(f"{pointer}/{word}", f"{word} is not supported here.", word, hint)
    if node.get("$schema", _DIALECT) not in (_DIALECT, f"{_DIALECT}#"):
        message = "Schemas are JSON Schema 2020-12; this names another version."
        yield SchemaProblem(f"{pointer}/$schema", message, "$schema", "Remove the line.")
    if not isinstance(node.get("x-sensitive", False), bool):
        yield SchemaProblem(f"{pointer}/x-sensitive", "x-sensitive is true or false.", "x-sensitive", "Write true.")
    if isinstance(node.get("pattern"), str):
        yield from _check_pattern(f"{pointer}/pattern", node["pattern"])
    if isinstance(node.get("patternProperties"), Mapping):
        for pattern in node["patternProperties"]:
            yield from _check_pattern(child(f"{pointer}/patternProperties", pattern), pattern)


def _check_pattern(pointer: str, pattern: str) -> Iterator[SchemaProblem]:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions())
    except ValueError:
        hint = "Look-around and back-references are refused, as matching them may never end; so are huge repetitions."
        yield SchemaProblem(pointer, f"The pattern {pattern[:100]} cannot be used.", "pattern", hint)


def _check_meta(schema: Mapping[str, Any], known: set[str]) -> list[SchemaProblem]:
    """What breaks the rules of JSON Schema itself, one problem a place."""
    found: dict[str, SchemaProblem] = {}
    for error in jsonschema_rs.Draft202012Validator({"$ref": _DIALECT}, offline=True).iter_errors(schema):
        pointer = "".join(child("", part) for part in error.instance_path)
        message = f"A JSON Schema cannot have {json.dumps(error.instance, ensure_ascii=False)[:60]} here."
        hint = ""
        if error.instance_path and error.instance_path[-1] == "type":
            hint = "A type is string, integer, number, boolean, array, object or null."
        if pointer not in known:
            found.setdefault(pointer, SchemaProblem(pointer, message, error.kind.name, hint))
    return list(found.values())


def resolve_pointer(root: Mapping[str, Any], target: str) -> Any:
    """What a reference such as ``#/$defs/name`` names; None where it names nothing."""
    node: Any = root
    for part in unquote(target.removeprefix("#")).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, Mapping) and name in node:
            node = node[name]
        else:
            return None
    return node


def _check_expansion(schema: Mapping[str, Any]) -> list[SchemaProblem]:
    """Refuses references that go in circles, and those that multiply."""
    sizes: dict[str, int] = {}
    under_way: set[str] = set()

    def expanded(target: str, pointer: str) -> int:
        if target in under_way:
            raise _Refused(pointer, f"The reference {target[:100]} leads back to itself; such schemas may never end.")
        if len(under_way) >= MAX_CHAIN:
            raise _Refused(pointer, f"More than {MAX_CHAIN} references lead from one to the next.")
        if target not in sizes:
            under_way.add(target)
            sizes[target] = total(resolve_pointer(schema, target), target.removeprefix("#"))
            under_way.remove(target)
        if sizes[target] > MAX_EXPANDED:
            raise _Refused(pointer, "The references multiply: each names several others, many levels deep.")
        return sizes[target]

    def total(node: Any, pointer: str) -> int:
        return 1 + sum(expanded(inner["$ref"], f"{at}/$ref") for at, inner in _nodes(node, pointer) if "$ref" in inner)

    try:
        if total({k: v for k, v in schema.items() if k not in ("$defs", "definitions")}, "") > MAX_EXPANDED:
            raise _Refused("", "The references multiply: each names several others, many levels deep.")
        for at, node in _nodes(schema):
            if "$ref" in node:
                expanded(node["$ref"], f"{at}/$ref")
    except _Refused as refused:
        return [SchemaProblem(refused.pointer, refused.message, "$ref", "Write the inner levels out, or simplify.")]
    return []


@dataclass(frozen=True)
class _Refused(Exception):
    pointer: str
    message: str


def _check_use(schema: Mapping[str, Any]) -> list[SchemaProblem]:
    try:
        jsonschema_rs.Draft202012Validator(
            dict(schema), offline=True, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return [SchemaProblem("", f"The schema cannot be used: {str(error).partition(chr(10))[0]}.", "schema")]
    return []
