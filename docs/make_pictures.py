"""Draws the pictures of the pages again: ``python docs/make_pictures.py``.

A picture stands below ``<!-- nexusflow compile FILE --format FORMAT -->``. FILE is a file of the repository, or a
block of the same page whose first line names it (``# hello.yaml``).
"""

import re
from pathlib import Path

from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.reports.drawing import DrawingFormat, draw
from nexusflow.workflows.reports.phrases import limits
from nexusflow.workflows.saved.catalogue import catalogue

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURE = re.compile(
    r"(<!-- nexusflow compile (?P<file>\S+) --format (?P<form>\w+) -->\n```\w+\n)(?P<shown>.*?)(?=^```$)", re.M | re.S
)


def redrawn(page: str) -> str:
    """The page's text with its pictures as they are made now."""

    def again(found: re.Match[str]) -> str:
        return found[1] + picture(source(page, found["file"]), found["form"])  # type: ignore[arg-type]

    return PICTURE.sub(again, page)


def source(page: str, name: str) -> bytes:
    """The workflow that a picture names."""
    block = re.search(rf"^```yaml\n(# {re.escape(name)}\n.*?)^```$", page, re.M | re.S)
    return block[1].encode() if block else (ROOT / name).read_bytes()


def picture(workflow: bytes, form: DrawingFormat) -> str:
    """What ``nexusflow compile`` prints."""
    definition = parse_definition(workflow, catalogue())
    return draw(compile_plan(definition, catalogue()), form, definition.name, limits(definition))


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(redrawn(path.read_text(encoding="utf-8")), encoding="utf-8")
