"""Plain references: looked up in Python in microseconds, with an error that says what is there instead."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from nexusflow.errors import Permanent

Parts = tuple[str | int, ...]
_SHOWN_KEYS = 8


def show(parts: Parts) -> str:
    """A reference as its author would write it."""
    text = str(parts[0])
    for part in parts[1:]:
        plain = isinstance(part, str) and part.isidentifier() and part.isascii()
        quoted = str(part) if isinstance(part, int) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f".{part}" if plain else f"[{quoted}]"
    return text


def look_up(parts: Parts, scope: Mapping[str, Any]) -> Any:
    """The value at ``parts``; raises Permanent REFERENCE_MISSING naming the reference and what exists there."""
    value: Any = scope
    for position, part in enumerate(parts):
        field = isinstance(part, str) and isinstance(value, Mapping) and part in value
        item = isinstance(part, int) and isinstance(value, (list, tuple)) and part < len(value)
        if not field and not item:
            raise missing(parts, position, value)
        value = value[part]
    return value


def why_missing(references: Iterable[Parts], scope: Mapping[str, Any]) -> Permanent | None:
    """The error of the first reference that leads nowhere, if there is one."""
    for parts in references:
        try:
            look_up(parts, scope)
        except Permanent as error:
            return error
    return None


def missing(parts: Parts, position: int, value: Any) -> Permanent:
    """The error of a reference whose part at ``position`` is not in ``value``."""
    part, where = parts[position], show(parts[:position]) if position else "an expression"
    message = f"'{show(parts)}' is not there: "
    if isinstance(value, Mapping):
        return Permanent("REFERENCE_MISSING", f"{message}{where} has no '{part}'.", _instead(str(part), value))
    if isinstance(value, (list, tuple)):
        many = f"has {len(value)} items" if len(value) != 1 else "has 1 item"
        first = "Items are counted from 0." if isinstance(part, int) else "A list's item is named by number, as in [0]."
        return Permanent("REFERENCE_MISSING", f"{message}{where} is a list and {many}.", first)
    if value is None:
        hint = f"Ask first: {where} != null ? {show(parts)} : null. A skipped step's output is null."
        return Permanent("REFERENCE_MISSING", f"{message}{where} is null.", hint)
    kind = "text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"
    return Permanent("REFERENCE_MISSING", f"{message}{where} is {kind} and has no parts.")


def _instead(part: str, value: Mapping[str, Any]) -> str:
    names = [str(key) for key in value]
    if close := get_close_matches(part, names, 1):
        return f"Did you mean '{close[0]}'?"
    if not names:
        return "Nothing is there."
    more = ", …" if len(names) > _SHOWN_KEYS else ""
    return f"There are: {', '.join(sorted(names)[:_SHOWN_KEYS])}{more}."


def prune(scope: Mapping[str, Any], references: Iterable[Parts]) -> dict[str, Any]:
    """The part of ``scope`` the references reach: what an evaluation must be given, and no more."""
    kept: dict[str, Any] = {}
    for parts in sorted(set(references), key=lambda each: [str(part) for part in each]):
        _keep(kept, scope, parts)
    return kept


def _keep(kept: dict[str, Any], source: Mapping[str, Any], parts: Parts) -> None:
    part = parts[0]
    if not isinstance(part, str) or part not in source:
        return
    value = source[part]
    deeper = len(parts) > 1 and isinstance(parts[1], str) and isinstance(value, Mapping)
    if not deeper:
        kept[part] = value
    elif kept.get(part) is not value:
        _keep(kept.setdefault(part, {}), value, parts[1:])
