"""JSON to plain data with positions; YAML readers refuse some of its escapes, so it has a reader of its own."""

import json
import math
import re
from bisect import bisect_right
from typing import Any

from nexusflow.pointers import child
from nexusflow.workflows.language.document import MAX_INTEGER, MIN_INTEGER, Position, Reading, Unreadable

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_WORD = re.compile(r"[A-Za-z]+")
_WORDS = {"true": True, "false": False, "null": None}


def read_json(text: str, reading: Reading) -> Any:
    """The data of a JSON text; raises Unreadable where it cannot be read to its end."""
    reader = _Reader(text, reading)
    data = reader.value("", 1)
    reader.skip_space()
    if reader.at < len(text):
        raise reader.syntax("something follows the end of the document")
    return data


class _Reader:
    """A cursor over the text; its recursion is bounded by ``Reading.check_depth``."""

    def __init__(self, text: str, reading: Reading) -> None:
        self.text = text
        self.reading = reading
        self.at = 0
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(self) -> Position:
        line = bisect_right(self.line_starts, self.at)
        return Position(line, self.at - self.line_starts[line - 1] + 1)

    def syntax(self, problem: str, hint: str = "") -> Unreadable:
        return self.reading.stop("", self.position(), "SYNTAX", f"This is no valid JSON: {problem}.", hint)

    def skip_space(self) -> str:
        """Go to the next character that is no space, and return it ("" at the end)."""
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def value(self, pointer: str, depth: int) -> Any:
        first = self.skip_space()
        at = self.position()
        self.reading.positions[pointer] = at
        if first in ("{", "["):
            self.reading.check_depth(pointer, at, depth)
            return self._object(pointer, depth) if first == "{" else self._array(pointer, depth)
        if first == '"':
            begin = self.at
            text = self._string()
            if self.at - begin == len(text) + 2:
                self.reading.positions[pointer] = at._replace(text=at.column + 1)
            return self.reading.clean_text(pointer, at, text)
        number = _NUMBER.match(self.text, self.at)
        if number:
            return self._number(number, pointer, at)
        return self._word()

    def _object(self, pointer: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        if self.skip_space() == "}":
            self.at += 1
            return found
        while True:
            if self.skip_space() != '"':
                raise self.syntax("a key in double quotes is expected here")
            at = self.position()
            key = self.reading.clean_text(pointer, at, self._string())
            below = child(pointer, key)
            is_new = self.reading.check_key(below, key, at)
            if self.skip_space() != ":":
                raise self.syntax("a colon is expected here")
            self.at += 1
            value = self.value(below, depth + 1)
            if is_new:
                found[key] = value
            if self._ends("}"):
                return found

    def _array(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        if self.skip_space() == "]":
            self.at += 1
            return items
        while True:
            items.append(self.value(child(pointer, len(items)), depth + 1))
            if self._ends("]"):
                return items

    def _ends(self, bracket: str) -> bool:
        following = self.skip_space()
        if following not in (",", bracket) or not following:
            raise self.syntax(f"a comma or {bracket} is expected here")
        self.at += 1
        if following == "," and self.skip_space() == bracket:
            raise self.syntax("a comma is the last thing before a closing bracket", "Remove that comma.")
        return following == bracket

    def _string(self) -> str:
        token = _STRING.match(self.text, self.at)
        if token is None:
            raise self.syntax("a text is not closed on its line", "Close it with a quote; write a line break as \\n.")
        try:
            text: str = json.loads(token.group())
        except json.JSONDecodeError as error:
            self.at += error.pos
            raise self.syntax("an escape is not known", "Write a backslash as \\\\.") from None
        self.at = token.end()
        return text

    def _number(self, token: re.Match[str], pointer: str, at: Position) -> int | float:
        text = token.group()
        self.at = token.end()
        if token.group(1) or token.group(2):
            value = float(text)
            if math.isfinite(value):
                return value
        elif len(text) <= 20 and MIN_INTEGER <= int(text) <= MAX_INTEGER:
            return int(text)
        self.reading.refuse(
            pointer, at, "NOT_A_NUMBER", f"{text[:40]} is too large for a number.", "Quote it.", broken=True
        )
        return 0

    def _word(self) -> bool | None:
        word = _WORD.match(self.text, self.at)
        if word and word.group() in _WORDS:
            self.at = word.end()
            return _WORDS[word.group()]
        found = word.group() if word else self.text[self.at : self.at + 1]
        raise self.syntax(f"a value is expected here, not {found[:20]}" if found else "it ends too early")
