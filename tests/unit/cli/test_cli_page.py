"""docs/cli.md says what the program has."""

import json
import re
from pathlib import Path

import typer

from nexusflow.cli import exits
from nexusflow.cli.app import app

PAGE = (Path(__file__).parents[3] / "docs/cli.md").read_text()


def test_every_command_and_no_other_is_on_the_page() -> None:
    group = typer.main.get_command(app)
    names, alone = set(), set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        names |= {f"{name} {each}" for each in inner} if inner else {name}
        alone |= {name} if inner and getattr(command, "invoke_without_command", False) else set()
    listed = re.findall(r"^\| `nexusflow ((?:[a-z]+ )?[a-z]+)", PAGE, re.MULTILINE)
    assert names <= set(listed) <= names | alone


def test_every_exit_code_is_on_the_page() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == codes


def test_the_example_document_is_json() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert list(json.loads(example)) == ["run_id", "status", "output", "error", "steps"]
