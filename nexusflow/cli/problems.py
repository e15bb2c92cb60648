"""Problems of a document for people: place, message, the line itself with a caret, and what to do."""

from collections.abc import Sequence

from rich.text import Text

from nexusflow.cli.console import err
from nexusflow.errors import Problem

EXCERPT_WIDTH = 100


def show_problems(problems: Sequence[Problem], *, name: str = "", text: str | None = None) -> None:
    """Write problems to standard error; ``text`` is what they are about, if it can be shown."""
    lines = text.splitlines() if text is not None else []
    for problem in problems:
        err().print(_headline(problem, name), soft_wrap=True)
        if problem.line and problem.line <= len(lines):
            for line in _excerpt(lines[problem.line - 1], problem.line, problem.column or 1):
                err().print(line, soft_wrap=True)
        if problem.hint:
            err().print(Text.assemble(("  = ", "dim"), problem.hint), soft_wrap=True)


def _headline(problem: Problem, name: str) -> Text:
    place = [str(part) for part in (name, problem.line, problem.column) if part not in ("", None)]
    shown = ":".join(place) if problem.line else name
    if not problem.line and problem.path:
        shown = f"{name}: {problem.path}" if name else problem.path
    return Text.assemble(
        (f"{shown}: " if shown else "  ", "bold"), (problem.message, "red"), (f"  [{problem.code}]", "dim")
    )


def _excerpt(line: str, number: int, column: int) -> list[Text]:
    """The line and a caret below; of a long line the part around the column."""
    line = "".join(sign if sign.isprintable() else " " for sign in line)
    start = max(0, column - 1 - EXCERPT_WIDTH // 2) if len(line) > EXCERPT_WIDTH else 0
    shown = line[start : start + EXCERPT_WIDTH]
    gutter = f"{number:>5} | "
    caret = " " * (len(gutter) - 2) + "| " + " " * (column - 1 - start) + "^"
    return [Text.assemble((gutter, "dim"), shown), Text(caret, style="bold red")]
