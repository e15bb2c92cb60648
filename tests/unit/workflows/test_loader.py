import json
from typing import Any

import pytest
import yaml

from nexusflow.errors import InvalidDefinition, Problem
from nexusflow.workflows.language import document_yaml
from nexusflow.workflows.language.document import MAX_DEPTH, MAX_PROBLEMS, Position
from nexusflow.workflows.language.loader import load


def refused(text: str | bytes, **options: Any) -> list[Problem]:
    with pytest.raises(InvalidDefinition) as caught:
        load(text, **options)
    return caught.value.details


def the_problem(text: str | bytes, **options: Any) -> Problem:
    (problem,) = refused(text, **options)
    return problem


YAML = """\
# a comment
name: café
steps:
  - id: a
    with: {x: [1, "t\\tt", 'q']}
    text: |
      two
      lines
"""


def test_yaml_keeps_data_text_and_positions() -> None:
    document = load(YAML, name="w.yaml")
    assert document.data == {
        "name": "café",
        "steps": [{"id": "a", "with": {"x": [1, "t\tt", "q"]}, "text": "two\nlines\n"}],
    }
    assert document.text == YAML
    assert document.positions["/name"] == Position(2, 7, 7)
    assert document.positions["/steps/0"] == Position(4, 5)
    assert document.positions["/steps/0/with/x/0"] == Position(5, 16, 16)
    assert document.positions["/steps/0/with/x/1"].text is None
    assert document.positions["/steps/0/with/x/2"] == Position(5, 27, 28)
    assert document.keys["/steps/0/text"] == Position(6, 5)


def test_json_keeps_data_and_positions() -> None:
    text = '{\n\t"name": "\\ud83d\\ude00", "a/b": [1.50, true,\n  {"k~": "v"}]}'
    document = load(text)
    assert document.data == {"name": "\U0001f600", "a/b": [1.5, True, {"k~": "v"}]}
    assert document.positions["/name"].text is None
    assert document.positions["/a~1b/2/k~0"] == Position(3, 10, 11)
    assert document.keys["/a~1b/2/k~0"] == Position(3, 4)
    assert document.positions["/a~1b/0"] == Position(2, 34)


def test_json_agrees_with_the_standard_reader() -> None:
    data = {"a": [], "b": {}, "c": [1, -2, 0.5, 1e3, None, False, 'ü\n"\\/'], "": {"": [[[]]]}}
    for indent in (None, 3):
        assert load(json.dumps(data, indent=indent)).data == data


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("on", "on"), ("yes", "yes"),
        ("no", "no"), ("Off", "Off"), ("12", 12), ("-3", -3), ("0", 0), ("1.5", 1.5), ("1.0", 1.0), ("1_000", "1_000"),
        ("12:30", "12:30"), ("2026-01-31", "2026-01-31"), ("1.2.3", "1.2.3"), ("NaN", "NaN"), ("'1.10'", "1.10"),
        ('"true"', "true"), ("9223372036854775807", 2**63 - 1), ("٣", "٣"),
    ],
)  # fmt: skip
def test_plain_values(written: str, value: Any) -> None:
    found = load(f"a: {written}\n").data["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "written",
    ["1.10", "010", "0x1F", "0o17", "+5", "1.", ".5", "1e3", "-0", "True", "NULL", "1.00", "0.10000000000000000001"],
)
def test_values_that_would_change_are_refused(written: str) -> None:
    problem = the_problem(f"a: {written}\n")
    assert (problem.code, problem.path, problem.line, problem.column) == ("AMBIGUOUS_VALUE", "/a", 1, 4)
    assert f'"{written}"' in problem.hint


@pytest.mark.parametrize("written", [".inf", "-.INF", ".nan", "1e999", "9223372036854775808", "1" * 5_000])
def test_numbers_that_no_data_can_hold_are_refused(written: str) -> None:
    assert the_problem(f"a: {written}\n").code == "NOT_A_NUMBER"


@pytest.mark.parametrize("number", ["1e999", "9223372036854775808", "1" * 5_000])
def test_json_numbers_that_no_data_can_hold_are_refused(number: str) -> None:
    assert the_problem(f'{{"a": {number}}}').code == "NOT_A_NUMBER"


@pytest.mark.parametrize("text", ["a: 1\nb:\n  c: 2\n  c: 3\n", '{"a": 1,\n"b": {\n"c": 2,\n"c": 3}}'])
def test_duplicate_keys_are_refused(text: str) -> None:
    problem = the_problem(text)
    assert (problem.code, problem.path, problem.line) == ("DUPLICATE_KEY", "/b/c", 4)
    assert "line 3" in problem.message


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("a: &x 1\n", ["ALIAS_REFUSED"]),
        ("a: *x\n", ["ALIAS_REFUSED"]),
        ("a: {<<: {b: 1}}\n", ["ALIAS_REFUSED"]),
        ("a: !!str 1\n", ["TAG_REFUSED"]),
        ("a: !!python/object:os.system {}\n", ["TAG_REFUSED"]),
        ("1: a\ntrue: b\n", ["KEY_NOT_TEXT", "KEY_NOT_TEXT"]),
        ("? [a]\n: b\n", ["KEY_NOT_TEXT"]),
        ("a: {{b}}\n", ["KEY_NOT_TEXT"]),
        ("a: 1\n---\nb: 1\n", ["SEVERAL_DOCUMENTS"]),
        ('a: "\\0"\n', ["CHARACTER_REFUSED"]),
        ('"a\\0": 1\n', ["CHARACTER_REFUSED"]),
        ('{"a": "\\u0000"}', ["CHARACTER_REFUSED"]),
        ('{"a": "\\ud800"}', ["CHARACTER_REFUSED"]),
        ("a: \x00\n", ["CHARACTER_REFUSED"]),
        ("", ["EMPTY"]),
        ("# nothing\n", ["EMPTY"]),
        ("- a\n", ["NOT_A_MAPPING"]),
        ("text", ["NOT_A_MAPPING"]),
    ],
)
def test_what_yaml_would_bend_is_refused(text: str, codes: list[str]) -> None:
    assert [problem.code for problem in refused(text)] == codes


def test_all_problems_of_reading_come_at_once() -> None:
    found = refused("a: 1.10\nb: *x\nb: 2\nc: True\n")
    assert [(problem.code, problem.line) for problem in found] == [
        ("AMBIGUOUS_VALUE", 1),
        ("ALIAS_REFUSED", 2),
        ("DUPLICATE_KEY", 3),
        ("AMBIGUOUS_VALUE", 4),
    ]
    assert len(refused("a: 010\n" * 10_000)) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("a: [1\nb: 2", 2, "not closed"),
        ("a: 1\n\tb: 2", 2, "not tabs"),
        ("\ta: 1", 1, "not tabs"),
        ("a: b: c", 1, "Quote"),
        ("a: 1\nb: @x", 2, "Quote"),
        ("a: {b: ${{ x }}}", 1, "${{ … }}"),
        ('a: "x', 1, "never closed"),
        ("a:\n  - b\n c: 1", 3, "indentation"),
        ('a: "\\q"', 1, "backslash"),
    ],
)
def test_syntax_errors_say_where_and_what_to_do(text: str, line: int, hint: str) -> None:
    problem = the_problem(text)
    assert (problem.code, problem.line) == ("SYNTAX", line)
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ('{"a": 1,}', 1, 9, "comma is the last"),
        ('{"a" 1}', 1, 6, "colon"),
        ('{"a": 1\n "b": 2}', 2, 2, "comma or }"),
        ('{"a": [1 2]}', 1, 10, "comma or ]"),
        ('{"a": NaN}', 1, 7, "not NaN"),
        ('{"a": 01}', 1, 8, "comma or }"),
        ('{"a": ', 1, 7, "ends too early"),
        ('{"a": "x\n"}', 1, 7, "not closed"),
        ('{"a": "\\q"}', 1, 8, "escape"),
        ('{"a": 1} x', 1, 10, "follows"),
        ('{"a": 1, b: 2}', 1, 10, "double quotes"),
    ],
)
def test_json_syntax_errors_point_at_the_place(text: str, line: int, column: int, part: str) -> None:
    problem = the_problem(text)
    assert (problem.code, problem.line, problem.column) == ("SYNTAX", line, column)
    assert part in problem.message


def test_the_name_decides_between_yaml_and_json() -> None:
    assert load('{"a": 1, b: 2}', name="w.yaml").data == {"a": 1, "b": 2}
    assert the_problem("a: 1", name="w.json").code == "SYNTAX"
    assert load("{a: 1}").data == {"a": 1}


@pytest.mark.timeout(5)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("unit", ["[", "{", "- ", '{"a":', "[{", "? "])
def test_deep_nesting_is_one_clear_error(unit: str, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_yaml, "_LOADER", getattr(yaml, loader))
    problem = the_problem(unit * 100_000)
    assert problem.code == "TOO_DEEP"
    assert problem.line == 1


def test_depth_up_to_the_limit_is_read() -> None:
    for name in ("a.json", "a.yaml"):
        inside = MAX_DEPTH - 1
        assert load('{"a": ' + "[" * inside + "]" * inside + "}", name=name).data
        assert the_problem('{"a": ' + "[" * (inside + 1) + "]" * (inside + 1) + "}", name=name).code == "TOO_DEEP"


@pytest.mark.timeout(5)
def test_a_yaml_bomb_does_not_expand() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert {problem.code for problem in refused("l0: &l0 [x]\n" + levels)} == {"ALIAS_REFUSED"}


@pytest.mark.timeout(5)
def test_an_overlong_text_is_refused_before_it_is_read() -> None:
    problem = the_problem(b"[" * 20_000_000)
    assert (problem.code, problem.line) == ("TOO_BIG", None)
    assert "20,000,000" in problem.message
    assert the_problem("é" * 600_000).code == "TOO_BIG"
    assert load("a: " + "x" * 97, max_bytes=100).data
    assert the_problem("a: " + "x" * 98, max_bytes=100).code == "TOO_BIG"


def test_encodings() -> None:
    assert load(b"\xef\xbb\xbfa: 1\n").data == {"a": 1}
    assert load(b'\xef\xbb\xbf{"a": 1}').positions["/a"] == Position(1, 7)
    assert load(b"a: 1\r\nb: 2\r\n").positions["/b"].line == 2
    problem = the_problem(b"a: 1\nb: caf\xe9\n")
    assert (problem.code, problem.line) == ("NOT_UTF8", 2)
    assert "byte 11" in problem.message
    assert "0xe9" in problem.message
    assert "UTF-16" in the_problem("a: 1".encode("utf-16")).message
    assert the_problem("a: \ud800").code == "NOT_UTF8"
