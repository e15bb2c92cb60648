"""The README and the pages under docs name what exists, link to what is there and show what is made now."""

import fnmatch
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from api.errors import CODES
from nexusflow.cli.app import app
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.saved.catalogue import catalogue

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
DRAWN = {"docs/architecture.md", "docs/language/README.md"}
"""Pages with pictures drawn by hand."""
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            yield target


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert ROOT in [found, *found.parents], f"{target} leaves the repository"
        assert not anchor or anchor in anchors(found), target


@every_page
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))) <= targets


@every_page
def test_every_command_and_option_that_is_named_exists(page: Path) -> None:
    program = typer.main.get_command(app)
    for line in re.findall(r"(?:`|^|-- )nexusflow ([a-z][^`\n|]*)", page.read_text(encoding="utf-8"), re.MULTILINE):
        command, words = program, line.split()
        while words and (inner := getattr(command, "commands", {}).get(words[0])) is not None:
            command, words = inner, words[1:]
        assert not hasattr(command, "commands") or command.invoke_without_command, f"nexusflow {line}: no such command"
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= options, f"nexusflow {line}"


@every_page
def test_every_picture_is_what_compile_prints(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    redrawn = runpy.run_path(str(ROOT / "docs/make_pictures.py"))["redrawn"]
    assert text == redrawn(text), "run python docs/make_pictures.py"
    assert (
        text.count("\n```mermaid\n") == len(re.findall(r"--format mermaid -->\n```", text))
        or page.relative_to(ROOT).as_posix() in DRAWN
    )


def test_the_workflow_that_is_shown_passes_the_checks() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert parse_definition(shown.encode(), catalogue()).name == "keep-leads"


def test_the_exit_codes_are_those_of_the_program() -> None:
    help_text = " ".join(CliRunner().invoke(app, ["run", "--help"]).output.split())
    told = dict(re.findall(r"(\d+) ([a-z]+)", README.read_text(encoding="utf-8").split("Exit codes:")[1].split("(")[0]))
    assert told.keys() == set(re.findall(r"\b(\d+) (?:it|the|interrupted)", help_text))


def test_every_error_that_the_engine_gives_a_step_is_told() -> None:
    raised = {
        code
        for path in (ROOT / "nexusflow/workflows").rglob("*.py")
        for code in re.findall(r"\b(?:Permanent|Transient)\(\s*\"([A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    told = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len(raised) > 10
    assert {code for code in raised if f"`{code}`" not in told} == set()


def test_the_errors_of_the_api_are_listed() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    listed = {code: (int(status), told) for status, code, told in re.findall(r"\| (\d+) \| `(\w+)` \| (.+) \|", page)}
    assert listed == CODES


def test_the_map_of_the_code_names_what_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"(?<![\w/*])[\w*]+\.py\b", text))
    rooms = [ROOT / room for room in ("nexusflow", "tasks", "beat", "api", "deploy", "docs", "examples", "tests")]
    there = {path.name for room in rooms for path in room.rglob("*.py")} | {path.name for path in ROOT.glob("*.py")}
    assert {name for name in names if not fnmatch.filter(there, name)} == set()
    core = {path.name for path in (*(ROOT / "nexusflow").glob("*.py"), *(ROOT / "nexusflow/workflows").rglob("*.py"))}
    assert {file for file in core - {"__init__.py"} if not any(fnmatch.fnmatch(file, name) for name in names)} == set()


def test_every_decision_has_the_same_parts_and_is_listed() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        parts = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert parts == ["Status", "Context", "Decision", "Consequences", "Alternatives considered"], page.name
        assert f"({page.name})" in listed, page.name
