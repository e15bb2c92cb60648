"""YAML to plain data with positions: built from the parser's events, so that nothing expands and nothing recurses."""

from collections.abc import Iterator
from typing import Any

import yaml

from nexusflow.pointers import child
from nexusflow.workflows.language.document import Position, Reading, Unreadable
from nexusflow.workflows.language.scalars import ScalarRefused, plain_value

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SYNTAX_HINTS = {
    "tab character": "Indent with spaces, not tabs.",
    "mapping values are not allowed": "Quote a value that holds ': ', and check the indentation.",
    "could not find expected ':'": "A key is followed by a colon and a space; keys of one mapping share a column.",
    "did not find expected key": "Keys of one mapping start in the same column: check the indentation.",
    "block sequence entries are not allowed": "A list starts on a line of its own, below its key.",
    "did not find expected '-' indicator": "Items of one list start in the same column: check the indentation.",
    "unexpected end of stream": "A quote that is opened here is never closed.",
    "expected ',' or ']'": "A list opened with [ is not closed, or lacks a comma.",
    "expected ',' or '}'": "A mapping opened with { is not closed, or lacks a comma.",
    "escape": "In double quotes a backslash starts an escape: write \\\\, or use single quotes.",
    "did not find expected alphabetic or numeric": "Quote a value that starts with & or *.",
}


def read_yaml(text: str, reading: Reading) -> Any:
    """The data of one YAML document; raises Unreadable where the text cannot be read to its end."""
    try:
        return _Builder(yaml.parse(text, Loader=_LOADER), reading).document()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        at = Position(line, error.position - (text.rfind("\n", 0, error.position) + 1) + 1)
        raise reading.stop(
            "",
            at,
            "CHARACTER_REFUSED",
            f"The character U+{ord(text[error.position]):04X} is not allowed in a definition.",
            "Remove that character.",
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax(text, reading, error) from None


def _syntax(text: str, reading: Reading, error: yaml.MarkedYAMLError) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    at = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    lines = text.split("\n", at.line)
    line = lines[at.line - 1] if len(lines) >= at.line else ""
    problem = error.problem or "it cannot be read"
    hint = next((hint for part, hint in _SYNTAX_HINTS.items() if part in problem), "")
    if "cannot start any token" in problem:
        found = line[at.column - 1 : at.column]
        hint = "Indent with spaces, not tabs." if found == "\t" else f"Quote a value that starts with {found}"
    if "${{" in line:
        hint = 'Quote a value with an expression in it: "${{ … }}".'
    opened = f", in what starts on line {error.context_mark.line + 1}" if error.context_mark else ""
    return reading.stop("", at, "SYNTAX", f"This is no valid YAML: {problem}{opened}.", hint)


def _start(event: yaml.Event) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


class _Builder:
    """Plain data from parser events; its recursion is bounded by ``Reading.check_depth``."""

    def __init__(self, events: Iterator[yaml.Event], reading: Reading) -> None:
        self.events = events
        self.reading = reading

    def document(self) -> Any:
        data = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.reading.positions:
                    raise self.reading.stop(
                        "",
                        _start(event),
                        "SEVERAL_DOCUMENTS",
                        "A second YAML document starts here.",
                        "Keep one workflow a file, and remove the line ---.",
                    )
                data = self.value(next(self.events), "", 1)
        return data

    def value(self, event: yaml.Event, pointer: str, depth: int) -> Any:
        at = _start(event)
        self.reading.positions[pointer] = at
        self._refuse_indirection(event, pointer, at)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, pointer, at)
        if isinstance(event, yaml.SequenceStartEvent):
            self.reading.check_depth(pointer, at, depth)
            return self._sequence(pointer, depth)
        if isinstance(event, yaml.MappingStartEvent):
            self.reading.check_depth(pointer, at, depth)
            return self._mapping(pointer, depth)
        return None  # an alias, already refused

    def _sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self.value(event, child(pointer, len(items)), depth + 1))
        return items

    def _mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, pointer, depth)
            if key is None:
                # The value is still read, under a pointer that no problem will name, for what else is wrong in it.
                self.value(next(self.events), child(pointer, "?"), depth + 1)
                continue
            below = child(pointer, key)
            is_new = self.reading.check_key(below, key, _start(event))
            value = self.value(next(self.events), below, depth + 1)
            if is_new:
                mapping[key] = value
        return mapping

    def _key(self, event: yaml.Event, pointer: str, depth: int) -> str | None:
        at = _start(event)
        self._refuse_indirection(event, pointer, at)
        if not isinstance(event, yaml.ScalarEvent):
            hint = "Write a text before the colon."
            if isinstance(event, yaml.MappingStartEvent):
                hint = 'Braces make a mapping: quote an expression, as in "${{ … }}".'
            self.reading.refuse(pointer, at, "KEY_NOT_TEXT", "A list or a mapping cannot be a key.", hint)
            self.value(event, child(pointer, "?"), depth + 1)
            return None
        text = self.reading.clean_text(pointer, at, event.value)
        if not event.implicit[0]:
            return text
        if text == "<<":
            self.reading.refuse(
                pointer, at, "ALIAS_REFUSED", "Merge keys (<<) are not supported.", "Write the values out."
            )
            return None
        try:
            if isinstance(plain_value(text), str):
                return text
        except ScalarRefused:
            pass
        self.reading.refuse(
            pointer, at, "KEY_NOT_TEXT", f"The key {text[:40] or '(empty)'} is not text.", f'Quote it: "{text[:40]}".'
        )
        return None

    def _scalar(self, event: yaml.ScalarEvent, pointer: str, at: Position) -> Any:
        text: str = event.value
        end = event.end_mark
        quotes = 1 if event.style in ("'", '"') else 0
        # Only where nothing was folded or unescaped does an offset in the value give a column of the line.
        if end and end.line + 1 == at.line and end.column + 1 - at.column == len(text) + 2 * quotes:
            self.reading.positions[pointer] = at._replace(text=at.column + quotes)
        text = self.reading.clean_text(pointer, at, text)
        if not event.implicit[0]:
            return text
        try:
            return plain_value(text)
        except ScalarRefused as refused:
            self.reading.refuse(pointer, at, refused.code, refused.message, refused.hint, broken=True)
            return text

    def _refuse_indirection(self, event: yaml.Event, pointer: str, at: Position) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            alias = isinstance(event, yaml.AliasEvent)
            what = f"Aliases (*{anchor})" if alias else f"Anchors (&{anchor})"
            hint = "Write the value out." if alias else "Remove the anchor."
            self.reading.refuse(pointer, at, "ALIAS_REFUSED", f"{what} are not supported.", hint, broken=alias)
        if tag:
            hint = "Remove the tag; quotes make a value text."
            self.reading.refuse(pointer, at, "TAG_REFUSED", f"Tags ({tag}) are not supported.", hint, broken=True)
