"""Reads a page of the documentation as what a reader would do with it, block by block.

What a fenced block means:

- ``sh`` is typed into the page's terminal, ``python`` is run there as a program;
- a block of any other kind, or ``python``, whose first line is a comment with a file's name is written to that file;
- ``text`` and ``json`` are what the command before them prints, with … for what is left out;
- ``mermaid`` is a picture, made by the command in the comment above it (docs/make_pictures.py).

HTML comments directly above a block, which readers do not see, say what else there is to know:

- ``not run: REASON``: the test skips the block;
- ``a terminal of its own``: the command stays until the page ends;
- ``exits with N``: N instead of 0;
- ``nexusflow compile …``: what made the picture.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[3]
PAGES = ("quickstart", "tour", "testing", "api", "running", "operating")
"""The pages in their reading order."""

Kind = Literal["command", "program", "file", "output", "picture", "skipped"]

_FENCE = re.compile(r"^(?P<marks>(?:<!--(?:(?!-->).)*-->\n)*)```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_FILE_NAME = re.compile(r"# ([\w.-]+\.(?:yaml|py|csv|env|ini|json|txt))$")
_MARKS = re.compile(r"not run: .+|a terminal of its own|exits with \d+|nexusflow compile .+")


class PageIsOdd(Exception):
    """A block that no rule covers."""


@dataclass(frozen=True)
class Block:
    """One fenced block, and where it stands."""

    page: str
    line: int
    language: str
    text: str
    marks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"docs/{self.page}.md:{self.line}"

    @property
    def kind(self) -> Kind:
        if self.mark("not run: "):
            return "skipped"
        if self.language == "mermaid":
            return "picture"
        if self.language in ("text", "json"):
            return "output"
        if self.file_name:
            return "file"
        if self.language in ("sh", "python"):
            return "command" if self.language == "sh" else "program"
        raise PageIsOdd(
            f"{self}: a block of {self.language or 'no language'} that is neither run nor written to a file"
        )

    @property
    def file_name(self) -> str:
        """The file that the first line names; "" where it names none."""
        found = None if self.language == "sh" else _FILE_NAME.match(self.text.partition("\n")[0])
        return found[1] if found else ""

    @property
    def exit_code(self) -> int:
        return int(self.mark("exits with ") or 0)

    @property
    def stays(self) -> bool:
        return "a terminal of its own" in self.marks

    def mark(self, beginning: str) -> str:
        """The rest of the mark that begins so; "" where there is none."""
        return next((mark.removeprefix(beginning) for mark in self.marks if mark.startswith(beginning)), "")


def read_blocks(page: str) -> list[Block]:
    """The page's blocks in order."""
    return list(parse(page, (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")))


def parse(page: str, text: str) -> Iterator[Block]:
    """The blocks of a Markdown text. Raises PageIsOdd for a mark that is not known."""
    for found in _FENCE.finditer(text):
        marks = tuple(re.findall(r"<!-- *(.*?) *-->", found["marks"], re.S))
        line = text.count("\n", 0, found.start("language")) + 1
        block = Block(page, line, found["language"], found["text"], marks)
        for mark in marks:
            if not _MARKS.fullmatch(mark):
                raise PageIsOdd(f"{block}: <!-- {mark} --> is no mark")
        yield block
