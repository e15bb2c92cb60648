"""JSON Schemas written by workflow authors: patterns in linear time, no remote references."""

from typing import Any

import jsonschema_rs

from nexusflow.errors import Permanent
from nexusflow.schemas import check_schema, validator

Validator = jsonschema_rs.Draft202012Validator


def compile_schema(schema: dict[str, Any]) -> Validator:
    """A validator (2020-12) of an author's schema; raises Permanent SCHEMA_INVALID with what is wrong with it."""
    problems = check_schema(schema)
    if problems:
        first = problems[0]
        where = f" at {first.pointer}" if first.pointer else ""
        raise Permanent(
            "SCHEMA_INVALID", f"The step's schema is no usable JSON Schema{where}: {first.message}", first.hint
        )
    return validator(schema)


NUMERIC = {"integer": "whole number", "number": "number", "boolean": "true or false"}


def faults(schema: Validator, value: Any, limit: int = 3) -> list[str]:
    """What is wrong with a value, each fault as ``field: message``; empty where it fits."""
    found: list[str] = []
    for error in schema.iter_errors(value):
        where = ".".join(str(part) for part in error.instance_path)
        said = _explain(error)
        found.append(f"{where}: {said}" if where else said)
        if len(found) == limit:
            break
    return found


def _explain(error: jsonschema_rs.ValidationError) -> str:
    """The message for the faults that tables are full of in plain words, the library's for the others."""
    keyword = error.schema_path[-1] if error.schema_path else ""
    if keyword == "minLength" and error.instance == "":
        return "is empty"
    if keyword == "type" and error.instance is None:
        return "is empty"
    if keyword == "type" and isinstance(error.instance, str) and (kinds := _kinds(error)) & NUMERIC.keys():
        return f"'{error.instance[:100]}' is no {' or '.join(NUMERIC[kind] for kind in sorted(kinds & NUMERIC.keys()))}"
    if keyword == "format" and isinstance(error.instance, str):
        what = str(getattr(error.kind, "format", "value"))
        return f"'{error.instance[:100]}' is no {'e-mail address' if what == 'email' else what}"
    return str(error.message)


def _kinds(error: jsonschema_rs.ValidationError) -> set[str]:
    return set(map(str, getattr(error.kind, "types", None) or ()))
