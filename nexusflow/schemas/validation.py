"""JSON Schemas (2020-12) at work: validation with readable messages, and the masking of sensitive values.

Patterns run on an engine without backtracking, references stay inside the schema (see ``rules.py``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from nexusflow.pointers import child
from nexusflow.schemas.keeping import kept_by_size
from nexusflow.schemas.masks import Masks, masks_of
from nexusflow.schemas.rules import SchemaProblem
from nexusflow.suggestions import hint_for, one_of

MAX_FOUND = 50
_SHOWN = 40
_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FORMATS = {"email": "e-mail address", "uri": "URI", "date": "date, as in 2026-01-31", "date-time": "date and time"}


def validate(schema: Mapping[str, Any], value: Any) -> list[SchemaProblem]:
    """What is wrong with a value, at most 50 problems; values marked ``x-sensitive`` are never shown.

    The schema is one that ``check_schema`` finds nothing in; ValueError for one that cannot be used at all.
    """
    masks = masks_of(schema)
    found: list[SchemaProblem] = []
    for error in validator(schema).iter_errors(value):
        found.extend(_explain(error, schema, masks))
        if len(found) >= MAX_FOUND:
            break
    return found[:MAX_FOUND]


def validator(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator of a schema that ``check_schema`` finds nothing in; ValueError for one that cannot be used at all."""
    return _compiled(json.dumps(schema, sort_keys=True))


@kept_by_size
def _compiled(key: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        json.loads(key),
        offline=True,
        validate_formats=True,
        pattern_options=jsonschema_rs.RegexOptions(),
        email_options=jsonschema_rs.EmailOptions(require_tld=True, allow_display_text=False),
    )


@dataclass(frozen=True)
class _Place:
    """Where an error is, how to speak of it, and whether its value must not be shown."""

    pointer: str
    subject: str
    secret: bool


def _place(path: list[str | int], masks: Masks) -> _Place:
    pointer, secret = "", masks.whole
    for part in path:
        pointer, masks = child(pointer, part), masks.below(str(part))
        secret = secret or masks.whole
    if not path:
        return _Place(pointer, "The value", secret)
    return _Place(pointer, f"Item {path[-1]}" if isinstance(path[-1], int) else f"'{path[-1]}'", secret)


def _explain(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], masks: Masks) -> list[SchemaProblem]:
    place = _place(error.instance_path, masks)
    kind, keyword = error.kind, error.kind.name
    if isinstance(kind, Kind.Required):
        holder = f" in {place.subject}" if place.pointer else ""
        return [SchemaProblem(place.pointer, f"'{kind.property}' is missing{holder}.", keyword)]
    if isinstance(kind, Kind.AdditionalProperties | Kind.UnevaluatedProperties):
        known = _known_fields(schema, error.schema_path)
        return [
            SchemaProblem(child(place.pointer, name), f"There is no field '{name}'.", keyword, hint_for(name, known))
            for name in kind.unexpected
        ]
    if isinstance(kind, Kind.AnyOf | Kind.OneOfNotValid):
        found = (tuple(each for inner in branch for each in _explain(inner, schema, masks)) for branch in kind.context)
        return [_closest(place, keyword, _shown(error.instance, place.secret), tuple(found))]
    message = f"{place.subject} is {_shown(error.instance, place.secret)}; {_reason(kind)}."
    return [SchemaProblem(place.pointer, message, keyword)]


def _known_fields(schema: Any, path: list[str | int]) -> list[str]:
    for part in path[:-1]:
        schema = schema[part]
    return list(schema.get("properties", ()))


def _closest(place: _Place, keyword: str, shown: str, branches: tuple[tuple[SchemaProblem, ...], ...]) -> SchemaProblem:
    """One problem for a value that fits none of several forms: that of the only form of the right type, if any."""
    fitting = [b for b in branches if not any(p.pointer == place.pointer and p.keyword == "type" for p in b)]
    if len(fitting) == 1 and fitting[0]:
        first = fitting[0][0]
        return SchemaProblem(first.pointer, first.message, keyword, first.hint, branches)
    if not fitting:
        wanted = list(dict.fromkeys(b[0].message.partition("; it must be ")[2].rstrip(".") for b in branches))
        return SchemaProblem(
            place.pointer, f"{place.subject} is {shown}; it must be {one_of(wanted)}.", keyword, "", branches
        )
    return SchemaProblem(
        place.pointer, f"{place.subject} is {shown}; it fits none of its forms.", keyword, "", branches
    )


def _shown(value: Any, secret: bool) -> str:
    if secret:
        return "a sensitive value"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _reason(kind: Kind) -> str:
    """What a value must be, for the keyword it breaks."""
    match kind:
        case Kind.Type(types):
            return f"it must be {one_of([_KINDS.get(each, each) for each in types])}"
        case Kind.Enum(options):
            return f"it must be {one_of([_shown(each, False) for each in options])}"
        case Kind.Constant(expected):
            return f"it must be {_shown(expected, False)}"
        case Kind.Format(name):
            return f"it must be a valid {_FORMATS.get(name, name)}"
        case Kind.Pattern(pattern):
            return f"it must match the pattern {pattern}"
        case Kind.FalseSchema():
            return "nothing may be given here"
        case Kind.UniqueItems():
            return "its items must differ"
        case Kind.OneOfMultipleValid():
            return "it fits more than one of its forms"
        case Kind.MultipleOf(number):
            return f"it must be a multiple of {number}"
    words = _LIMITS.get(kind.name)
    return words.format(kind.value) if words else f"it breaks the rule '{kind.name}'"


_LIMITS = {
    "minimum": "it must be at least {}",
    "maximum": "it must be at most {}",
    "exclusiveMinimum": "it must be more than {}",
    "exclusiveMaximum": "it must be less than {}",
    "minLength": "it must be at least {} characters long",
    "maxLength": "it must be at most {} characters long",
    "minItems": "it must have at least {} items",
    "maxItems": "it must have at most {} items",
    "minProperties": "it must have at least {} fields",
    "maxProperties": "it must have at most {} fields",
}
