"""Records to rows: columns named, cells converted, rows checked against the schema and for repeats."""

from collections.abc import Mapping
from typing import Any, BinaryIO

from nexusflow.connectors.answers import shorten
from nexusflow.connectors.csv.lines import Lines
from nexusflow.connectors.csv.records import Record, Records
from nexusflow.connectors.csv.shapes import CsvReadInput, CsvReadOutput, RejectedRow
from nexusflow.connectors.schemas import Validator, compile_schema, faults
from nexusflow.errors import Permanent

SHOWN_CELL = 200
SHOWN_CELLS = 100
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_table(stream: BinaryIO, given: CsvReadInput) -> CsvReadOutput:
    """The rows of a CSV file; raises Permanent CSV_… where the file as a whole is no table."""
    lines = Lines(stream, given.encoding)
    records = Records(lines, _delimiter(given.delimiter))
    reader = iter(records)
    columns = _columns(next(reader, None), given)
    check = RowCheck(columns, given)
    rows: list[dict[str, Any]] = []
    rejected: list[RejectedRow] = []
    for total, record in enumerate(reader, start=1):
        if total > given.max_rows:
            raise Permanent("CSV_TOO_LONG", f"The file has more than {given.max_rows:,} rows.", "Split it.")
        row, reason = check.judge(record)
        if row is not None:
            rows.append(row)
        elif given.on_bad_row == "fail":
            raise Permanent("CSV_ROW_INVALID", f"Line {record.line}: {reason}.", "Correct the file.")
        else:
            shown = [shorten(cell, SHOWN_CELL) for cell in record.cells[:SHOWN_CELLS]]
            rejected.append(RejectedRow(line=record.line, reason=reason, row=shown))
    return CsvReadOutput(
        rows=rows, rejected=rejected, columns=columns, encoding=lines.encoding, total=len(rows) + len(rejected)
    )


class RowCheck:
    """Decides over one row after the other; remembers the keys of the good ones."""

    def __init__(self, columns: list[str], given: CsvReadInput) -> None:
        missing = [name for name in given.unique if name not in columns]
        if missing:
            raise Permanent(
                "CSV_COLUMNS", f"The file has no column '{missing[0]}'.", f"It has: {', '.join(columns)[:500]}."
            )
        self._columns = columns
        self._trim = given.trim
        self._unique = given.unique
        self._validator: Validator | None = compile_schema(given.row_schema) if given.row_schema else None
        self._kinds = _kinds(given.row_schema)
        self._lines: dict[tuple[str, ...], int] = {}

    def judge(self, record: Record) -> tuple[dict[str, Any] | None, str]:
        """The row, or None and what is wrong with it."""
        if record.fault:
            return None, record.fault
        width = len(self._columns)
        if len(record.cells) < width or any(cell.strip() for cell in record.cells[width:]):
            return None, f"{len(record.cells)} cells where the header has {width}"
        cells = [cell.strip() for cell in record.cells[:width]] if self._trim else record.cells[:width]
        row = {name: _convert(cell, self._kinds.get(name)) for name, cell in zip(self._columns, cells, strict=True)}
        if self._validator is not None and (found := faults(self._validator, row)):
            return None, shorten("; ".join(found))
        key = tuple(str(row[name]).strip().casefold() for name in self._unique)
        if key and key in self._lines:
            return None, f"repeats line {self._lines[key]} ({', '.join(self._unique)})"
        self._lines[key] = record.line
        return row, ""


def _columns(header: Record | None, given: CsvReadInput) -> list[str]:
    if header is None:
        raise Permanent("CSV_EMPTY", f"The file '{given.file.name}' is empty.", "It needs a line of column names.")
    if header.fault:
        raise Permanent("CSV_HEADER", f"The line of column names cannot be read: {header.fault}.", "Correct the file.")
    names = [name.strip() if given.trim else name for name in header.cells]
    if given.lower:
        names = ["_".join(name.lower().split()) for name in names]
    names = [given.rename.get(name, name) for name in names]
    while len(names) > 1 and not names[-1]:
        names.pop()
    if not all(names):
        raise Permanent("CSV_HEADER", f"Column {names.index('') + 1} has no name.", "Name every column.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Permanent("CSV_HEADER", f"Two columns are called '{shorten(twice, 100)}'.", "Rename one in the file.")
    return names


def _delimiter(asked: str) -> str:
    if asked == "auto":
        return ""
    if len(asked) != 1 or asked in '"\r\n\0':
        raise Permanent("CSV_DELIMITER", f"'{asked}' cannot be a delimiter.", "Give one character, or auto.")
    return asked


def _kinds(schema: Mapping[str, Any]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    properties = schema.get("properties")
    for name, wanted in properties.items() if isinstance(properties, dict) else ():
        types = wanted.get("type") if isinstance(wanted, dict) else None
        listed = types if isinstance(types, list) else [types]
        kind = next((one for one in listed if one in ("integer", "number", "boolean")), None)
        if kind and "string" not in listed:
            kinds[name] = kind
    return kinds


def _convert(cell: str, kind: str | None) -> Any:
    """The cell as its column's kind; text that does not read as one stays text, for the schema to refuse."""
    if kind is None:
        return cell
    text = cell.strip()
    if not text:
        return None
    try:
        if kind == "boolean":
            return TRUTHS.get(text.lower(), cell)
        if text.isascii() and "_" not in text and len(text) <= 40:
            number = int(text) if kind == "integer" else float(text)
            return number if abs(number) < 1e300 else cell
    except ValueError:
        pass
    return cell
