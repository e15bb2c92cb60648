"""A definition as plain data that remembers where each of its values stands in the author's text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nexusflow.errors import Problem
from nexusflow.pointers import parent

MAX_DEPTH = 60
"""How deep lists and mappings may be nested in a text."""
MAX_PROBLEMS = 100
"""After so many problems a reader gives up: the rest would be noise."""

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


class Position(NamedTuple):
    """Where a value begins, 1-based. ``text``: the column of its first character, where its text stands as written."""

    line: int
    column: int
    text: int | None = None


@dataclass(frozen=True)
class Document:
    """A readable definition: its data, the author's text, and positions by JSON Pointer (of values, and of keys)."""

    data: Any
    text: str
    name: str
    positions: Mapping[str, Position]
    keys: Mapping[str, Position]

    def problem(
        self, pointer: str, code: str, message: str, hint: str = "", *, key: bool = False, offset: int | None = None
    ) -> Problem:
        """A problem at a value (``key``: at its key; ``offset``: at that character of its text).

        What is not in the document, such as a missing word, is located at the nearest thing that holds it.
        """
        at = pointer
        while at and at not in self.positions:
            at = parent(at)
        position = self.positions.get(at, Position(1, 1))
        if key and at == pointer:
            position = self.keys.get(pointer, position)
        column = position.column
        if offset is not None and at == pointer and position.text is not None and not key:
            column = position.text + offset
        return Problem(pointer, position.line, column, code, message, hint)


class Unreadable(Exception):
    """Raised inside a reader when going on makes no sense; its problems are in the Reading."""


@dataclass
class Reading:
    """What a reader has found so far: positions and problems. ``broken``: pointers whose data are not as written."""

    positions: dict[str, Position] = field(default_factory=dict)
    keys: dict[str, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def refuse(
        self, pointer: str, at: Position, code: str, message: str, hint: str = "", *, broken: bool = False
    ) -> None:
        """Note a problem and go on; raises Unreadable after too many. ``broken``: the value there is not as written."""
        self.problems.append(Problem(pointer, at.line, at.column, code, message, hint))
        if broken:
            self.broken.add(pointer)
        if len(self.problems) >= MAX_PROBLEMS:
            raise Unreadable

    def stop(self, pointer: str, at: Position, code: str, message: str, hint: str = "") -> Unreadable:
        """Note a problem that ends the reading; raise what it returns."""
        self.problems.append(Problem(pointer, at.line, at.column, code, message, hint))
        return Unreadable()

    def check_depth(self, pointer: str, at: Position, depth: int) -> None:
        """Raises Unreadable where lists and mappings are nested too deep."""
        if depth > MAX_DEPTH:
            self.problems.clear()  # What such nesting broke on the way down would only hide it.
            raise self.stop(
                "",
                at,
                "TOO_DEEP",
                f"Lists and mappings are nested more than {MAX_DEPTH} deep here.",
                "Flatten the definition.",
            )

    def clean_text(self, pointer: str, at: Position, value: str) -> str:
        """The text without characters that no database, file or message could carry; they are noted."""
        found = _NO_TEXT.search(value)
        if found is None:
            return value
        what = "a NUL character (\\u0000)" if found.group() == "\0" else "half of a surrogate pair"
        hint = "Remove that character."
        self.refuse(pointer, at, "CHARACTER_REFUSED", f"This text holds {what}.", hint, broken=True)
        return _NO_TEXT.sub("\ufffd", value)

    def check_key(self, pointer: str, key: str, at: Position) -> bool:
        """Whether a key is new in its mapping; a second one is noted."""
        first = self.keys.get(pointer)
        if first is None:
            self.keys[pointer] = at
            return True
        self.refuse(
            pointer,
            at,
            "DUPLICATE_KEY",
            f"The key '{key[:80]}' is here twice; it is already on line {first.line}.",
            "Remove or rename one of the two: the later one would silently replace the earlier one.",
        )
        return False
