"""A run's input, checked against its workflow's schema and filled with the schema's defaults."""

from typing import Any

from nexusflow.errors import InvalidInput, Problem, StepError
from nexusflow.schemas import validate
from nexusflow.workflows.engine.act import storable
from nexusflow.workflows.language.definition import Definition

LARGE = "Give large data as a file (KEY=@FILE, or POST /v2/files)."
NOT_FITTING = "{} not fit the workflow's schema."
SEE_SCHEMA = "See `input.schema` of the workflow."


def checked_input(definition: Definition, given: Any) -> dict[str, Any]:
    """The run's input with the schema's top-level defaults filled in. Raises InvalidInput with every problem."""
    return checked_value(definition.input.schema_, given)


def checked_value(schema: dict[str, Any], given: Any) -> dict[str, Any]:
    """A run's input that fits this schema, with its top-level defaults filled in. Raises InvalidInput."""
    if not isinstance(given, dict):
        raise InvalidInput("The input is no JSON object.", 'Write {"KEY": VALUE, …}.')
    value = {
        name: spec["default"]
        for name, spec in schema.get("properties", {}).items()
        if isinstance(spec, dict) and "default" in spec
    } | given
    try:
        storable(value, "input")
    except StepError as error:
        is_large = error.code == "VALUE_TOO_LARGE"
        raise InvalidInput(error.message, LARGE if is_large else error.hint) from None
    problems = [
        Problem(each.pointer, None, None, "INVALID_INPUT", each.message, each.hint or SEE_SCHEMA)
        for each in validate(schema, value)
    ]
    if problems:
        raise InvalidInput(NOT_FITTING.format("The input does"), details=problems)
    return value
