"""JSON Schemas written by workflow authors: patterns in linear time, no remote references."""

from typing import Any

import jsonschema_rs

from nexusflow.errors import Permanent

Validator = jsonschema_rs.Draft202012Validator


def compile_schema(schema: dict[str, Any]) -> Validator:
    """A validator (2020-12) of an author's schema; raises Permanent SCHEMA_INVALID with what is wrong with it."""
    try:
        return jsonschema_rs.Draft202012Validator(
            schema,
            validate_formats=True,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            email_options=jsonschema_rs.EmailOptions(require_tld=True, allow_display_text=False),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise Permanent(
            "SCHEMA_INVALID",
            f"The step's schema is no usable JSON Schema: {reason}.",
            "Correct it; a schema may not refer to other addresses nor use look-around in patterns.",
        ) from None


def faults(validator: Validator, value: Any, limit: int = 3) -> list[str]:
    """What is wrong with a value, each fault as ``field: message``; empty where it fits."""
    found: list[str] = []
    for error in validator.iter_errors(value):
        where = ".".join(str(part) for part in error.instance_path)
        found.append(f"{where}: {error.message}" if where else error.message)
        if len(found) == limit:
            break
    return found
