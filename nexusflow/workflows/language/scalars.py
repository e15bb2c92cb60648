"""What an unquoted YAML value means: the words of YAML 1.2, and nothing that would lose what the author wrote."""

import math
import re
from dataclasses import dataclass

from nexusflow.workflows.language.document import MAX_INTEGER, MIN_INTEGER

_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_LOOKALIKES = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "Null": "null", "NULL": "null"}
_NUMBER = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class ScalarRefused(Exception):
    """An unquoted value whose meaning is not what it looks like."""

    code: str
    message: str
    hint: str


def plain_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar; raises ScalarRefused where reading it would change or lose it."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _LOOKALIKES:
        word = _LOOKALIKES[text]
        raise ScalarRefused("AMBIGUOUS_VALUE", f"{text} could be the word or a text.", f'Write {word}, or "{text}".')
    if _NOT_FINITE.fullmatch(text):
        raise ScalarRefused(
            "NOT_A_NUMBER", f"{text} is not a number that data can hold.", f'Quote it to make it text: "{text}".'
        )
    if _RADIX.fullmatch(text):
        raise _ambiguous(text, str(int(text, 0)) if len(text) < 18 else None)
    return _number(text) if _NUMBER.fullmatch(text) else text


def _number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        if len(text) > 20 or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
            raise ScalarRefused(
                "NOT_A_NUMBER",
                f"{_short(text)} is too large for a whole number (64 bits).",
                "Quote it to make it text.",
            )
        whole = int(text)
        if str(whole) != text:
            raise _ambiguous(text, str(whole))
        return whole
    value = float(text)
    if not math.isfinite(value):
        raise ScalarRefused("NOT_A_NUMBER", f"{_short(text)} is too large for a number.", "Quote it to make it text.")
    if repr(value) != text:
        raise _ambiguous(text, repr(value))
    return value


def _ambiguous(text: str, number: str | None) -> ScalarRefused:
    shown = _short(text)
    if number is None:
        return ScalarRefused("AMBIGUOUS_VALUE", f"{shown} could be a number or a text.", f'Quote it: "{shown}".')
    return ScalarRefused(
        "AMBIGUOUS_VALUE",
        f"{shown} would be read as the number {number} and lose what is written.",
        f'Write "{shown}" with quotes for text, or {number} for the number.',
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"
