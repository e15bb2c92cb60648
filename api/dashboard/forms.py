"""A form for a workflow's input, made from its JSON Schema, and the input that a filled form means.

A field is named by the JSON Pointer of its value, which is also how problems name it. What a form cannot say well
(choices between shapes, lists of objects, deep nesting) is a field for JSON.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nexusflow.errors import Problem
from nexusflow.pointers import child

MAX_NESTING = 3
LONG_TEXT = 200
_SCALARS = ("string", "integer", "number")
_INPUT_TYPES = {
    "email": "email",
    "uri": "url",
    "date": "date",
    "date-time": "text",
    "time": "time",
}


@dataclass(frozen=True)
class Field:
    """One field: ``kind`` is group, text, long, number, yesno, choice, lines, json or upload (a file, or JSON).

    ``value`` is what stands in it, ``choices`` pairs of value and label, ``attributes`` those of the HTML element.
    Nothing is required of a group that may be left out; the server says what is missing in one that is not.
    """

    name: str
    kind: str
    label: str
    type: str = ""
    help: str = ""
    is_required: bool = False
    is_secret: bool = False
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    fields: tuple["Field", ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """An id for the page."""
        return "field" + re.sub(r"[^A-Za-z0-9_-]", "-", self.name)


@dataclass
class Filled:
    """What a filled form means: the input, and what could not be understood."""

    value: Any = None
    problems: list[Problem] = field(default_factory=list)


def form_of(schema: Mapping[str, Any]) -> Field:
    """The form for a schema's values; its name is "" (the whole input)."""
    return _field(schema, "", "Input", required=True, nesting=0)


def every_field(form: Field) -> Iterable[Field]:
    """A form's fields that take a value."""
    if form.kind != "group":
        yield form
    for each in form.fields:
        yield from every_field(each)


def filled(form: Field, given: Mapping[str, str], uploads: Mapping[str, Any]) -> Filled:
    """The input that was given; ``uploads``: references of files, by the field's name."""
    found = Filled()
    found.value = _value(form, given, uploads, found.problems)
    if found.value is None:
        found.value = {}
    return found


def answered(form: Field, given: Mapping[str, str], problems: Iterable[Problem]) -> tuple[Field, list[Problem]]:
    """The form as it was filled, with the problems at their fields; and those that have none."""
    names = {each.name for each in every_field(form)} | {each.name for each in _groups(form)}
    at: dict[str, list[str]] = {}
    others = []
    for problem in problems:
        missing = re.match(r"'(.+?)' is missing", problem.message)
        name = child(problem.path, missing.group(1)) if missing else problem.path
        while name not in names and name:
            name = name.rpartition("/")[0]
        if name and name in names:
            at.setdefault(name, []).append("Give a value." if missing else problem.message)
        else:
            others.append(problem)
    return _again(form, given, at), others


def _groups(form: Field) -> Iterable[Field]:
    if form.kind == "group":
        yield form
    for each in form.fields:
        yield from _groups(each)


def _again(form: Field, given: Mapping[str, str], at: Mapping[str, list[str]]) -> Field:
    return replace(
        form,
        value="" if form.is_secret else given.get(form.name, form.value),
        problems=tuple(at.get(form.name, ())),
        fields=tuple(_again(each, given, at) for each in form.fields),
    )


def _field(schema: Any, name: str, label: str, *, required: bool, nesting: int) -> Field:
    schema = schema if isinstance(schema, Mapping) else {}
    kind = _type(schema)
    made = Field(
        name,
        "json",
        str(schema.get("title") or label),
        help=str(schema.get("description") or ""),
        is_required=required,
        is_secret=schema.get("x-sensitive") is True,
    )
    default = schema.get("default")
    if made.is_secret:
        default = None
    if isinstance(schema.get("enum"), list) and all(isinstance(each, (str, int, float)) for each in schema["enum"]):
        choices = tuple((json.dumps(each, ensure_ascii=False), str(each)) for each in schema["enum"])
        chosen = json.dumps(default, ensure_ascii=False) if default is not None else ""
        return replace(made, kind="choice", choices=choices, value=chosen)
    properties = schema.get("properties")
    if (kind == "object" or name == "") and isinstance(properties, Mapping) and nesting < MAX_NESTING and properties:
        wanted = schema.get("required", ())
        inner = tuple(
            _field(each, child(name, key), key, required=required and key in wanted, nesting=nesting + 1)
            for key, each in properties.items()
        )
        return replace(made, kind="group", fields=inner)
    if kind == "object" and name and not properties:
        return replace(made, kind="upload", value=_pretty(default))
    if kind == "boolean":
        return replace(made, kind="yesno", value=json.dumps(default) if isinstance(default, bool) else "")
    if kind in _SCALARS:
        return _scalar(made, schema, kind, default)
    if kind == "array" and _type(schema.get("items")) in _SCALARS and "enum" not in (schema.get("items") or {}):
        lines = [each if isinstance(each, str) else json.dumps(each) for each in default or ()]
        return replace(made, kind="lines", type=_type(schema["items"]), value="\n".join(lines))
    return replace(made, value=_pretty(default))


def _scalar(made: Field, schema: Mapping[str, Any], kind: str, default: Any) -> Field:
    shown = "" if default is None else str(default)
    if kind != "string":
        step = "1" if kind == "integer" else "any"
        bounds = (("min", "minimum"), ("max", "maximum"))
        given = [(name, str(schema[word])) for name, word in bounds if isinstance(schema.get(word), (int, float))]
        return replace(made, kind="number", type=kind, value=shown, attributes=(("step", step), *given))
    bounds = (("minlength", "minLength"), ("maxlength", "maxLength"))
    given = [(name, str(schema[word])) for name, word in bounds if isinstance(schema.get(word), int)]
    if not made.is_secret and (schema.get("maxLength", 0) > LONG_TEXT or "\n" in shown):
        return replace(made, kind="long", value=shown, attributes=tuple(given))
    html = "password" if made.is_secret else _INPUT_TYPES.get(schema.get("format", ""), "text")
    return replace(made, kind="text", type=html, value=shown, attributes=tuple(given))


def _type(schema: Any) -> str:
    """The type a field is made for; null beside it means that it may be left out."""
    named = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(named, list):
        others = [each for each in named if each != "null"]
        named = others[0] if len(others) == 1 else None
    return named if isinstance(named, str) else ""


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


def _value(form: Field, given: Mapping[str, str], uploads: Mapping[str, Any], problems: list[Problem]) -> Any:
    """The value of one field; None where nothing was given."""
    if form.kind == "group":
        found = {}
        for each in form.fields:
            value = _value(each, given, uploads, problems)
            if value is not None:
                found[_key(each.name)] = value
        return found or ({} if form.is_required else None)
    if form.name in uploads:
        return uploads[form.name]
    text = given.get(form.name, "")
    if form.kind not in ("text", "long") or form.type in ("email", "url", "date", "time"):
        text = text.strip()
    if text == "":
        return None
    try:
        return _parsed(form, text)
    except ValueError as error:
        problems.append(Problem(form.name, None, None, "INVALID_INPUT", str(error)))
        return None


def _key(pointer: str) -> str:
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _parsed(form: Field, text: str) -> Any:
    if form.kind in ("choice", "yesno", "json", "upload"):
        return _json(text)
    if form.kind == "number":
        return _number(form.type, text)
    if form.kind == "lines":
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return [line if form.type == "string" else _number(form.type, line) for line in lines]
    return text.replace("\r\n", "\n")


def _number(kind: str, text: str) -> int | float:
    shown = text[:40]
    try:
        number: int | float = int(text) if kind == "integer" and len(text) < 20 else float(text)
    except ValueError:
        raise ValueError(f"'{shown}' is not {'a whole number' if kind == 'integer' else 'a number'}.") from None
    if not math.isfinite(number):
        raise ValueError(f"'{shown}' is not a number that can be kept.")
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 2**53 else number


def _json(text: str) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no JSON: {error.msg}, at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise ValueError("This is nested too deeply.") from None
