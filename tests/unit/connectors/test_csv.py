"""``csv.read`` on good, odd and broken files."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest

from nexusflow.connectors.base import FileRef, StepContext
from nexusflow.connectors.csv.actions import read
from nexusflow.connectors.csv.shapes import CsvReadInput, CsvReadOutput
from nexusflow.errors import Permanent

REFERENCE = {"$file": "f1", "name": "table.csv", "size": 1, "sha256": "0"}


def table(content: bytes | str, **given: Any) -> CsvReadOutput:
    stored = content.encode("utf-8") if isinstance(content, str) else content

    @contextmanager
    def open_file(_: FileRef) -> Iterator[BinaryIO]:
        yield io.BytesIO(stored)

    context = StepContext("t", "r", "read", "", 1, "r/read/", 1e12, open_file=open_file)
    return read(context, CsvReadInput.model_validate({"file": REFERENCE, **given}))


def failure(content: bytes | str, **given: Any) -> Permanent:
    with pytest.raises(Permanent) as caught:
        table(content, **given)
    return caught.value


def reasons(found: CsvReadOutput) -> list[tuple[int, str]]:
    return [(one.line, one.reason) for one in found.rejected]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end(end: str) -> None:
    found = table(end.join(["a,b", "1,2", "3,4"]) + end)
    assert found.rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert (found.total, found.columns, found.encoding) == (2, ["a", "b"], "utf-8")


def test_quotes_over_lines_and_the_lines_numbers() -> None:
    found = table('a,b\r\n"x\r\ny, ""z""",2\r\nonly one cell\r\n\r\nlast,4\r\n')
    assert found.rows == [{"a": 'x\ny, "z"', "b": "2"}, {"a": "last", "b": "4"}]
    assert reasons(found) == [(4, "1 cells where the header has 2")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    found = table(delimiter.join(["name", '"x,y;z|"', "b"]) + "\n" + delimiter.join("123"))
    assert list(found.rows[0].values()) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("encoding", "reported"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_told_apart(encoding: str, reported: str) -> None:
    found = table("name,city\nZoë,Köln\n".encode(encoding))
    assert found.rows == [{"name": "Zoë", "city": "Köln"}]
    assert found.encoding == reported


def test_a_big_endian_file_and_one_with_both_encodings() -> None:
    assert table(b"\xfe\xff" + "a\nü\n".encode("utf-16-be")).rows == [{"a": "ü"}]
    mixed = table("a\nü€\n".encode() + "é\n".encode("cp1252"))
    assert [row["a"] for row in mixed.rows] == ["ü€", "é"]
    assert mixed.encoding == "utf-8+cp1252"


def test_a_given_encoding_is_held_to() -> None:
    assert table("a\nå\n".encode("mac-roman"), encoding="mac-roman").rows == [{"a": "å"}]
    assert failure(b"a\n\xff\n", encoding="utf-8").code == "CSV_ENCODING"
    assert failure(b"a\n", encoding="klingon").code == "CSV_ENCODING"


def test_characters_that_straddle_a_chunk() -> None:
    for shift in range(4):
        text = "a\n" + "x" * (65_534 + shift - 4) + "ü€\r\nlast\r\n"
        assert [row["a"][-2:] for row in table(text).rows] == ["ü€", "st"]


def test_bad_lines_are_reported_and_their_neighbours_read() -> None:
    content = b"a,b\n1,2\nx\0y,3\n" + b"\x81\xff,4\n" + b'"open,5\nnext,6\n"t"ext,7\nlast,8\n'
    found = table(content)
    assert [row["a"] for row in found.rows] == ["1", "next", "last"]
    assert reasons(found) == [
        (3, "the line holds a NUL byte"),
        (4, "the line is neither UTF-8 nor cp1252"),
        (5, "there is text after a closing quote"),
        (7, "there is text after a closing quote"),
    ]
    assert "\0" not in str(found.model_dump())


def test_a_quote_that_is_never_closed_spoils_one_line() -> None:
    found = table('a,b\n1,"open\n3,4\n5,6\n')
    assert reasons(found) == [(2, "a quote is opened and not closed")]
    assert [row["a"] for row in found.rows] == ["3", "5"]


def test_huge_cells_and_lines_are_bounded() -> None:
    found = table("a\n" + "x" * 140_000 + "\n" + "y" * 1_000_000 + "\nshort\n")
    assert [line for line, _ in reasons(found)] == [2, 3]
    assert all("longer than" in reason for _, reason in reasons(found))
    assert found.rows == [{"a": "short"}]
    assert max(len(cell) for one in found.rejected for cell in one.row) <= 200


def test_extra_cells_are_bad_unless_empty() -> None:
    found = table("a,b,,\n1,2,,\n1,2,,,\n1,2,3\n")
    assert len(found.rows) == 2
    assert reasons(found) == [(4, "3 cells where the header has 2")]


def test_columns_are_cleaned_and_renamed() -> None:
    assert table(" E-Mail , First  Name\n1,2\n", rename={"e-mail": "email"}).columns == ["email", "first_name"]
    assert table(" E-Mail \n1\n", lower=False).columns == ["E-Mail"]
    assert table(" a \n 1 \n", trim=False, lower=False).rows == [{" a ": " 1 "}]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "CSV_EMPTY"),
        (b"\n \r\n", "CSV_EMPTY"),
        (b"\xef\xbb\xbf", "CSV_EMPTY"),
        (b"a,A\n1,2\n", "CSV_HEADER"),
        (b"a,,b\n1,2,3\n", "CSV_HEADER"),
        (b'"a,b\n1,2\n', "CSV_HEADER"),
        (b"a\0,b\n1,2\n", "CSV_HEADER"),
        (b"\xff\xfea", "CSV_ENCODING"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_error(content: bytes, code: str) -> None:
    assert failure(content).code == code


def test_only_a_header_is_a_table_without_rows() -> None:
    assert table("a,b").rows == []


def test_rows_are_checked_against_the_schema() -> None:
    schema = {
        "required": ["email"],
        "properties": {
            "email": {"type": "string", "format": "email"},
            "size": {"type": ["integer", "null"], "minimum": 1},
            "price": {"type": "number"},
            "vip": {"type": "boolean"},
        },
    }
    good = "email,size,price,vip\na@example.com, 7 ,1.50,yes\nb@example.com,,2,FALSE\n"
    found = table(good + "nobody,1,1,no\nc@example.com,many,1,no\nd@example.com,0,,maybe\n", schema=schema)
    assert found.rows == [
        {"email": "a@example.com", "size": 7, "price": 1.5, "vip": True},
        {"email": "b@example.com", "size": None, "price": 2.0, "vip": False},
    ]
    assert [reason for _, reason in reasons(found)] == [
        "email: 'nobody' is no e-mail address",
        "size: 'many' is no whole number",
        "size: 0 is less than the minimum of 1; price: is empty; vip: 'maybe' is no true or false",
    ]


@pytest.mark.parametrize("number", ["1_000", "٣", "nan", "inf", "1e400", "0x10"])
def test_what_only_python_takes_for_a_number_is_none(number: str) -> None:
    assert table(f"n\n{number}\n", schema={"properties": {"n": {"type": "number"}}}).rows == []


def test_repeats_are_found_by_the_columns_together_whatever_the_case() -> None:
    found = table("k,l\nA,1\n a ,1\na,2\nbad\nA,1\n", unique=["k", "l"])
    assert [row["l"] for row in found.rows] == ["1", "2"]
    assert reasons(found) == [
        (3, "repeats line 2 (k, l)"),
        (5, "1 cells where the header has 2"),
        (6, "repeats line 2 (k, l)"),
    ]
    assert failure("a\n1\n", unique=["b"]).code == "CSV_COLUMNS"


def test_limits_and_failing_at_once() -> None:
    assert len(table("a\n1\n2\n", max_rows=2).rows) == 2
    assert failure("a\n1\n2\n3\n", max_rows=2).code == "CSV_TOO_LONG"
    error = failure("a,b\n1,2\n3\n", on_bad_row="fail")
    assert error.code == "CSV_ROW_INVALID"
    assert error.message.startswith("Line 3:")


@pytest.mark.parametrize(
    "schema", [{"type": "strin"}, {"$ref": "http://example.com/s"}, {"properties": {"a": {"pattern": "(?=a)"}}}]
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    assert failure("a\n1\n", schema=schema).code == "SCHEMA_INVALID"


@pytest.mark.parametrize("delimiter", ["ab", '"', "", "\n"])
def test_a_delimiter_that_is_none(delimiter: str) -> None:
    assert failure("a\n", delimiter=delimiter).code == "CSV_DELIMITER"


def test_a_pattern_cannot_hang_the_worker() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    assert len(table("a\n" + "a" * 50_000 + "!\n", schema=schema).rejected) == 1
