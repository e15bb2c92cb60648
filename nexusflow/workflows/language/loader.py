"""From the bytes of a file to a Document: decoded, bounded, YAML or JSON, every value with its position."""

import re

from nexusflow.errors import InvalidDefinition, Problem
from nexusflow.workflows.language.document import Document, Reading, Unreadable
from nexusflow.workflows.language.document_json import read_json
from nexusflow.workflows.language.document_yaml import read_yaml

MAX_BYTES = 1_048_576
_JSON = re.compile(r'\s*\{\s*["}]')


def load(text: bytes | str, *, name: str = "", max_bytes: int = MAX_BYTES) -> Document:
    """The document in a definition's text; raises InvalidDefinition with every problem of reading it.

    ``name``: the file's name, for messages; one that ends in ``.json`` is read as JSON, ``.yaml`` or ``.yml``
    as YAML, and any other as what it looks like.
    """
    document, problems, _ = read(text, name=name, max_bytes=max_bytes)
    if problems or document is None:
        raise InvalidDefinition(problems)
    return document


def read(
    text: bytes | str, *, name: str = "", max_bytes: int = MAX_BYTES
) -> tuple[Document | None, list[Problem], set[str]]:
    """The document as far as it can be read, the problems of reading it, and the pointers whose data are in doubt."""
    size = len(text)
    if size > max_bytes:
        return None, [_too_big(size, max_bytes)], set()
    reading = Reading()
    try:
        decoded = _decode(text)
        if len(decoded) * 4 > max_bytes and len(decoded.encode()) > max_bytes:
            return None, [_too_big(len(decoded.encode()), max_bytes)], set()
        data = read_json(decoded, reading) if _is_json(decoded, name) else read_yaml(decoded, reading)
    except _NotText as error:
        return None, [error.problem], set()
    except Unreadable:
        return None, reading.problems, set()
    if not isinstance(data, dict) and not reading.problems:
        reading.problems.append(_not_a_mapping(data))
    return Document(data, decoded, name, reading.positions, reading.keys), reading.problems, reading.broken


class _NotText(Exception):
    def __init__(self, line: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem("", line, 1, "NOT_UTF8", message, hint)


def _decode(text: bytes | str) -> str:
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise _NotText(line, "The text holds half of a surrogate pair.", "Remove that character.") from None
        return text.removeprefix("\ufeff")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _NotText(1, "The file is UTF-16, not UTF-8.", "Save it as UTF-8.")
    try:
        return text.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        byte = text[error.start]
        raise _NotText(
            line, f"The file is not UTF-8: byte {error.start} is 0x{byte:02x} (line {line}).", "Save it as UTF-8."
        ) from None


def _is_json(text: str, name: str) -> bool:
    suffix = name.lower().rpartition(".")[2]
    if suffix in ("yaml", "yml"):
        return False
    return suffix == "json" or _JSON.match(text) is not None


def _too_big(size: int, limit: int) -> Problem:
    return Problem(
        "",
        None,
        None,
        "TOO_BIG",
        f"The definition is {size:,} bytes long; {limit:,} are allowed.",
        "Move data out of the definition (pass it as input), or split the workflow.",
    )


def _not_a_mapping(data: object) -> Problem:
    if data is None:
        return Problem(
            "", 1, 1, "EMPTY", "The definition is empty.", "`nexusflow init` writes a workflow to start from."
        )
    return Problem(
        "",
        1,
        1,
        "NOT_A_MAPPING",
        "A definition is a mapping of words such as nexusflow, name and steps.",
        "`nexusflow init` writes a workflow to start from.",
    )
