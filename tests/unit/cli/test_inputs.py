"""--input: every form, and what is refused before anything is started."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexusflow.cli.inputs import parse_input, stand_in
from nexusflow.errors import InvalidInput
from tests.unit.cli.conftest import Answer

SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": "string"},
        "number": {"type": "number"},
        "count": {"type": "integer", "minimum": 1},
        "flag": {"type": "boolean"},
        "list": {"type": "array"},
        "maybe": {"type": ["string", "null"]},
        "either": {"type": ["string", "integer"]},
        "size": {"enum": ["1", "2"]},
        "ref": {"$ref": "#/$defs/code"},
        "outside": {"$ref": "#/properties/text"},
    },
    "$defs": {"code": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("text=5", "5"),
        ("text=true", "true"),
        ("text=", ""),
        ("text=a=b", "a=b"),
        ("text=@@home", "@home"),
        ("number=5", 5),
        ("number=-1.5e3", -1500.0),
        ("count=0", 0),  # out of range is the schema's to say, with the number in its message
        ("count=five", "five"),
        ("flag=true", True),
        ("list=[1, {}]", [1, {}]),
        ("maybe=null", None),
        ("maybe=nothing", "nothing"),
        ("either=7", 7),
        ("either=007", "007"),
        ("size=1", "1"),
        ("ref=12", "12"),
        ("outside=x", "x"),
        ("unknown=12", 12),
        ('unknown={"a": 1}', {"a": 1}),
        ("unknown=plain words", "plain words"),
        ("unknown=NaN", "NaN"),
        ("unknown=1e999", "1e999"),
        ("unknown=99999999999999999999", "99999999999999999999"),
        ("unknown=[1, 99999999999999999999]", "[1, 99999999999999999999]"),
        ("unknown=" + "9" * 5_000, "9" * 5_000),
        ("count=-9223372036854775808", -(2**63)),
        ("unknown=" + "[" * 5_000, "[" * 5_000),
        ("unknown=" + "[" * 60 + "1]" + "]" * 59, json.loads("[" * 60 + "1" + "]" * 60)),
    ],
)
def test_a_value_is_read_by_its_field(flag: str, value: object) -> None:
    parsed = parse_input([flag], SCHEMA).values
    assert list(parsed.values()) == [value]
    assert type(next(iter(parsed.values()))) is type(value)


def test_a_file_is_kept_for_upload(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(b"a,b\n")
    given = parse_input([f"leads=@{file}", "n=1"], {})
    assert (given.values, given.files) == ({"n": 1}, {"leads": file})
    resolved = given.resolved(stand_in)
    assert resolved["leads"] | {"$file": "", "sha256": ""} == {
        "$file": "",
        "name": "data.csv",
        "size": 4,
        "sha256": "",
        "media_type": "application/octet-stream",
    }


def test_the_whole_input_comes_from_a_json_file(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text('{"text": "5", "list": [1.10]}')
    assert parse_input([f"@{file}", "n=1"], SCHEMA).values == {"text": "5", "list": [1.1], "n": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends too early"),
        (b"[1]", "is no JSON object"),
        (b'{"a": }', "input.json:1:7"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "input.json:1:7"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": ' + b"9" * 400 + b"}", "input.json:1:7"),
        (b'{"a": "\xe9"}', "UTF-8"),
        (b'{"a": ' + b"[" * 100_000, "nested"),
        (b'{"a": "' + b"x" * 16_800_000 + b'"}', "larger than"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_a_broken_json_file_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "input.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        parse_input([f"@{file}"], SCHEMA)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["plain"], "cannot be read"),
        (["=5"], "cannot be read"),
        (["a=1", "a=2"], "given twice"),
        (["a=@missing.csv"], "There is no file missing.csv"),
        (["a=@."], "is a folder"),
        (["@missing.json"], "There is no input file missing.json"),
        (["a=@nul\0"], "cannot be read"),
        (["a=\udce9"], "The value of the input a is not UTF-8. Write it in UTF-8"),
        (["a=@\udce9.csv"], "The name of the file for the input a is not UTF-8. Give the file another name"),
        (["a=" + "[" * 61 + "]" * 61], "nested more than 60 deep. Nest the data less"),
        (["a=" + '{"b": ' * 61 + "1" + "}" * 61], "nested more than 60 deep. Nest the data less"),
    ],
)
def test_flags_that_cannot_be_used(flags: list[str], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_input(flags, SCHEMA)
    assert message in str(refused.value)


def test_input_that_is_nested_too_deep_is_told_what_helps(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"a": ' + "[" * 70 + "]" * 70 + "}")
    with pytest.raises(InvalidInput) as refused:
        parse_input([f"@{tmp_path / 'deep.json'}"], SCHEMA)
    assert "deep.json:1:66" in refused.value.message
    assert refused.value.hint == "Nest the data less, or give it as a file of its own: KEY=@FILE."


def test_a_pipe_is_refused_and_not_waited_for(nexusflow: Callable[..., Answer], good: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for flag in (f"@{pipe}", f"a=@{pipe}", "a=@/dev/zero"):
        with pytest.raises(InvalidInput, match="is no regular file"):
            parse_input([flag], {})
    for command in ("validate", "run", "compile"):
        answer = nexusflow(command, str(pipe))
        assert answer.code == 2
        assert "is no regular file, so no workflow file." in answer.err


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as sparse:
        sparse.truncate(134_217_729)
    with pytest.raises(InvalidInput, match="larger than"):
        parse_input([f"a=@{file}"], {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "'n' is missing"),
        (["n=five"], "'n' is"),
        (["n=1", "other=2"], "There is no field 'other'"),
        (["n=1", "text=@nowhere"], "There is no file nowhere"),
    ],
)
def test_run_refuses_invalid_input_before_anything_is_started(
    nexusflow: Callable[..., Answer], good: Path, flags: list[str], message: str
) -> None:
    arguments = ["run", str(good), *(part for flag in flags for part in ("--input", flag))]
    answer = nexusflow(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    document = nexusflow(*arguments, "--json").json
    assert set(document) == {"run_id", "status", "output", "error", "steps"}
    assert (document["run_id"], document["status"], document["steps"]) == (None, None, [])
    assert document["error"]["code"] == "INVALID_INPUT"
    assert not Path(".nexusflow").exists()


def test_run_refuses_an_invalid_workflow_before_anything_is_started(
    nexusflow: Callable[..., Answer], bad: Path
) -> None:
    answer = nexusflow("run", str(bad))
    assert answer.code == 2
    assert "transfrom" in answer.err
    assert [each["code"] for each in nexusflow("run", "bad.yaml", "--json").json["error"]["problems"]] != []
    assert [each.name for each in Path().iterdir()] == ["bad.yaml"]
