import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]


def test_valid_file_succeeds(nexusflow: Nexusflow, good: Path) -> None:
    answer = nexusflow("validate", str(good))
    assert answer.code == 0
    assert answer.out == f"{good} is valid (good).\n"
    assert nexusflow("validate", str(good), "--json").json == {"valid": True, "problems": []}


def test_every_problem_is_shown_at_its_place_with_a_caret_and_a_hint(nexusflow: Nexusflow, bad: Path) -> None:
    answer = nexusflow("validate", "bad.yaml")
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines[0].startswith("bad.yaml:4:22: ")
    assert lines[1] == "    4 |   - { id: one, type: transfrom, with: { jq: . } }"
    assert lines[2].index("^") - lines[1].index("transfrom") == 0
    assert lines[3].startswith("  = ")
    assert "transform" in lines[3]
    assert any(line.startswith("bad.yaml:7:13: ") for line in lines)
    assert lines[-1] == "bad.yaml is not valid: 2 problems."
    assert answer.out == ""


def test_problems_as_json_have_the_documented_form(nexusflow: Nexusflow, bad: Path) -> None:
    answer = nexusflow("validate", "--json", str(bad))
    assert answer.code == 2
    assert answer.err == ""
    assert answer.json["valid"] is False
    first = answer.json["problems"][0]
    assert set(first) == {"path", "line", "column", "code", "message", "hint"}
    assert (first["path"], first["line"], first["column"]) == ("/steps/0/type", 4, 22)


def _bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


BAD_FILES = {
    "not UTF-8": (b'nexusflow: "1"\nname: caf\xe9\n', "NOT_UTF8"),
    "UTF-16": ('nexusflow: "1"'.encode("utf-16"), "NOT_UTF8"),
    "too big": (b"# " + b"x" * 20_000_000, "TOO_BIG"),
    "nested brackets": (b"[" * 100_000, "TOO_DEEP"),
    "empty": (b"", "EMPTY"),
    "a list": (b"- 1\n", "NOT_A_MAPPING"),
    "duplicate key": (b'nexusflow: "1"\nname: a\nname: b\nsteps: []\n', "DUPLICATE_KEY"),
    "alias bomb": (_bomb(), "ALIAS_REFUSED"),
}


@pytest.mark.parametrize(("content", "code"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_unusable_content_is_one_clear_problem(nexusflow: Nexusflow, tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    answer = nexusflow("validate", "--json", str(file))
    assert answer.code == 2
    problems = answer.json["problems"]
    assert code in {problem["code"] for problem in problems}
    assert code != "TOO_BIG" or "20,000,002 bytes" in problems[0]["message"]
    shown = nexusflow("validate", str(file))
    assert shown.code == 2
    assert len(shown.err) < 10_000
    assert "is not valid" in shown.err


def test_a_file_that_cannot_be_read_says_why(nexusflow: Nexusflow, tmp_path: Path) -> None:
    missing, folder = nexusflow("validate", "missing.yaml"), nexusflow("validate", str(tmp_path))
    assert (missing.code, folder.code) == (2, 2)
    assert "There is no workflow file missing.yaml." in missing.err
    assert "is a folder" in folder.err
    document = nexusflow("validate", "missing.yaml", "--json").json
    assert document["valid"] is False
    assert document["problems"][0]["code"] == "INVALID_INPUT"
    assert nexusflow("validate", "nul\0byte").code == 2


def test_validate_loads_neither_celery_nor_vendors_nor_the_database(good: Path) -> None:
    program = (
        "import sys; from nexusflow.cli.app import call; code = call(['validate', sys.argv[1]]);"
        "print(sorted({'celery', 'kombu', 'openai', 'boto3', 'hubspot', 'sqlalchemy', 'psycopg', 'redis'}"
        " & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(good)], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
