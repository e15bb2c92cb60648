"""Writes settings.md from nexusflow/settings.py: ``python docs/make_settings.py``."""

import ast
import inspect
import re
import textwrap
from itertools import pairwise
from pathlib import Path

from nexusflow.settings import Settings

PAGE = Path(__file__).with_name("settings.md")
HEAD = """\
# Settings

Every setting is an environment variable, read once when a process starts. Sizes are bytes, times seconds. An empty
variable counts as not set. A value that cannot be read stops the process with its variable's name.
[running.md](running.md) tells which ones a cluster needs.

<!-- Made by python docs/make_settings.py -->

| variable | default | meaning |
|---|---|---|
"""


def docstrings() -> dict[str, str]:
    """What stands below each field of Settings."""
    lines: list[ast.stmt] = getattr(ast.parse(textwrap.dedent(inspect.getsource(Settings))).body[0], "body", [])
    found: dict[str, str] = {}
    for field, text in pairwise(lines):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(inspect.cleandoc(ast.literal_eval(text.value)).split())
    return found


def default(value: object) -> str:
    """A default as one writes it in the variable; nothing for a setting that is empty."""
    if value in (None, "", {}):
        return ""
    return f"`{value:.12g}`" if isinstance(value, float) else f"`{value}`"


def page() -> str:
    """The whole page."""
    told = docstrings()
    rows = []
    for name, field in Settings.model_fields.items():
        meaning = re.sub(r"``(.+?)``", r"`\1`", told[name]).replace("|", "\\|")
        shown = default(field.get_default(call_default_factory=True))
        rows.append(f"| `NEXUSFLOW_{name.upper()}` | {shown} | {meaning} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
