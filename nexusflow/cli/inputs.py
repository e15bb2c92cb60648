"""The ``--input`` of a run: KEY=VALUE, KEY=@FILE, @FILE.json, turned into values by the workflow's schema."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from nexusflow.cli.sources import open_regular, read_bounded, unreadable
from nexusflow.connectors.base import FileRef
from nexusflow.errors import InvalidDefinition, InvalidInput
from nexusflow.schemas import validate
from nexusflow.settings import get_settings
from nexusflow.workflows.language.document import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER
from nexusflow.workflows.language.loader import load

LESS_DEEP = "Nest the data less, or give it as a file of its own: KEY=@FILE."
FORMS = "Write --input KEY=VALUE, --input KEY=@FILE to upload a file, or --input @FILE.json for all of it."


@dataclass(frozen=True)
class GivenInput:
    """What was given: ``values`` by key, and ``files`` to upload, whose references become the values."""

    values: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def resolved(self, keep: Callable[[Path], FileRef]) -> dict[str, Any]:
        """The input with each file's reference, which ``keep`` gives."""
        return self.values | {key: keep(path).model_dump(by_alias=True) for key, path in self.files.items()}


def parse_input(given: list[str], schema: Mapping[str, Any]) -> GivenInput:
    """Read the flags. Raises InvalidInput for one that cannot be used."""
    found = GivenInput()
    for flag in given:
        if flag.startswith("@"):
            for key, value in _whole(flag[1:]).items():
                _add(found, key, value)
            continue
        key, equals, value = flag.partition("=")
        _refuse_no_text(key, value)
        if not equals or not key:
            raise InvalidInput(f"--input {flag[:80]} cannot be read.", FORMS)
        if value.startswith("@@"):
            _add(found, key, value[1:])
        elif value.startswith("@"):
            _refuse_twice(found, key)
            found.files[key] = _uploadable(value[1:])
        else:
            _add(found, key, _typed(key, value, schema))
    return found


def parse_data(given: str) -> Any:
    """One value: JSON, another text as it is, or the JSON of a file (@FILE). Raises InvalidInput."""
    _refuse_no_text("data", given)
    if given.startswith("@@") or not given.startswith("@"):
        return _typed("data", given.removeprefix("@"), {})
    name, limit = given[1:], get_settings().max_value_bytes
    content = read_bounded(name, limit, wanted="data file")
    if len(content) > limit:
        raise InvalidInput(f"{name} is larger than {limit:,} bytes.", "Upload it as an input file, and send its name.")
    try:
        known, value = _parsed(content.decode())
    except UnicodeDecodeError:
        known, value = False, None
    if not known or _is_deep(value):
        raise InvalidInput(f"{name} is no JSON that can be sent.", "Write JSON in UTF-8, or give a text itself.")
    return value


def stand_in(path: Path) -> FileRef:
    """A reference with a file's size, to check the input before anything is started."""
    return FileRef.model_validate(
        {"$file": "0" * 36, "name": path.name, "size": path.stat().st_size, "sha256": "0" * 64}
    )


def _refuse_no_text(key: str, value: str) -> None:
    try:
        f"{key}={value}".encode()
    except UnicodeEncodeError:
        shown = key.encode(errors="replace").decode()[:80]
        what, advice = "The value of the input", "Write it in UTF-8, or give the bytes as a file: KEY=@FILE."
        if value.startswith("@") and not value.startswith("@@"):
            what, advice = "The name of the file for the input", "Give the file another name."
        raise InvalidInput(f"{what} {shown} is not UTF-8.", advice) from None


def _add(found: GivenInput, key: str, value: Any) -> None:
    _refuse_twice(found, key)
    found.values[key] = value


def _refuse_twice(found: GivenInput, key: str) -> None:
    if key in found.values or key in found.files:
        raise InvalidInput(f"The input {key[:80]} is given twice.", "Give each key once.")


def _whole(name: str) -> dict[str, Any]:
    limit = get_settings().max_value_bytes
    content = read_bounded(name, limit, wanted="input file")
    if len(content) > limit:
        raise InvalidInput(
            f"{name} is larger than {limit:,} bytes.", "Give large data as a file of its own: KEY=@FILE."
        )
    try:
        document = load(content, name=f"{name}.json", max_bytes=limit)
    except InvalidDefinition as error:
        problem = error.details[0]
        place = f"{name}:{problem.line}:{problem.column}" if problem.line else name
        if problem.code in ("EMPTY", "NOT_A_MAPPING"):
            raise InvalidInput(f"{name} is no JSON object.", 'Write {"KEY": VALUE, …}.') from None
        hint = LESS_DEEP if problem.code == "TOO_DEEP" else problem.hint
        raise InvalidInput(f"{place}: {problem.message}", hint) from None
    data: dict[str, Any] = document.data
    return data


def _uploadable(name: str) -> Path:
    """Raises InvalidInput for what cannot be read, before anything is started."""
    path = Path(name)
    try:
        with open_regular(name, "file") as file:
            file.read(1)
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(name, error, "file") from None
    limit = get_settings().max_file_bytes
    if status.st_size > limit:
        raise InvalidInput(f"{name} is larger than {limit:,} bytes.", "Split it, or raise NEXUSFLOW_MAX_FILE_BYTES.")
    return path


def _typed(key: str, text: str, schema: Mapping[str, Any]) -> Any:
    """The value a text stands for: what fits the schema's field, as JSON rather than as text where both do."""
    spec = schema.get("properties", {}).get(key, {})
    spec = spec if isinstance(spec, dict) else {}
    known, parsed = _parsed(text)
    if not known:
        return text
    if _is_deep(parsed):
        raise InvalidInput(f"The value of the input {key[:80]} is nested more than {MAX_DEPTH} deep.", LESS_DEEP)
    wanted = {"$defs": schema.get("$defs", {}), **spec}
    for candidate in (parsed, text):
        if _fits(wanted, candidate):
            return candidate
    return text if spec.get("type") == "string" else parsed


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        holders = [each for each in level if isinstance(each, (dict, list))]
        level = [inner for each in holders for inner in (each.values() if isinstance(each, dict) else each)]
    return any(isinstance(each, (dict, list)) for each in holders)


def _parsed(text: str) -> tuple[bool, Any]:
    try:
        return True, json.loads(text, parse_constant=_refuse, parse_int=_integer, parse_float=_fraction)
    except (ValueError, RecursionError):
        return False, None


def _refuse(text: str) -> NoReturn:
    """What no JSON document and no database holds as a number stays text."""
    raise ValueError(text)


def _integer(text: str) -> int:
    return int(text) if MIN_INTEGER <= int(text) <= MAX_INTEGER else _refuse(text)


def _fraction(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse(text)


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    try:
        return not validate(schema, value)
    except ValueError:  # it refers to what is outside the field: the whole input's check decides
        return True
