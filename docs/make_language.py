"""Writes into docs/language/*.md what the program knows best: ``python docs/make_language.py``.

- ``<!-- fields: Retry(retry.), StepBase[when] -->``: the table below it has these fields of these models, as
  ``definition.py`` and ``words.py`` (or an action's input, by the action's name) describe them. In brackets: what is
  written before each field; only these fields.
- ``<!-- example: NAME -->``: the block below it is ``examples/language/NAME.yaml``.
- ``<!-- wrong: … -->``: a workflow with ``HERE`` in it. Each row of the table below it has something that must not be
  written there; what ``nexusflow validate`` says about it is put beside it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nexusflow.connectors.registry import get_action
from nexusflow.errors import InvalidDefinition
from nexusflow.workflows.evaluation.expressions import check_jq
from nexusflow.workflows.language import definition, limits, words
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.saved.catalogue import catalogue

FOLDER = Path(__file__).with_name("language")
EXAMPLES = FOLDER.parents[1] / "examples/language"
FIELDS = re.compile(r"(<!-- fields: (.+?) -->\n)(?:\|.*\n)*")
EXAMPLE = re.compile(r"(<!-- example: (\S+) -->\n```yaml\n).*?(?=^```$)", re.M | re.S)
WRONG = re.compile(r"(<!-- wrong:\n(.*?)-->\n)((?:\|[^\n]*\n)+)", re.S)
_PART = re.compile(r"([\w.]+)(?:\(([^)]*)\))?(?:\[([^]]*)\])?")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"), (0.001, "ms"))

Told = tuple[str, str, str, FieldInfo]
"""A field on a page: its model, its name there, what is written before it, and itself."""


def redrawn(page: str) -> str:
    """The page's text with its tables and examples as they are now."""
    page = FIELDS.sub(lambda found: found[1] + fields_table(found[2]), page)
    page = EXAMPLE.sub(lambda found: found[1] + example(found[2]), page)
    return WRONG.sub(lambda found: found[1] + wrong_table(found[2], found[3]), page)


def example(name: str) -> str:
    """An example without its first line, which is for editors."""
    return (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[2]


def told_fields(spec: str) -> Iterator[Told]:
    """The fields that a mark names."""
    for name, before, only in _PART.findall(spec):
        for own_name, field in _model(name).model_fields.items():
            word = field.alias or own_name
            if word in only.split() if only else not _is_inherited(name, word):
                yield name, word, before, field


def _model(name: str) -> type[BaseModel]:
    found = next((getattr(each, name) for each in (definition, words, limits) if hasattr(each, name)), None)
    return found or get_action(name).input


def _is_inherited(name: str, field: str) -> bool:
    base = definition.StepBase
    return issubclass(_model(name), base) and _model(name) is not base and field in base.model_fields


def fields_table(spec: str) -> str:
    """Name, meaning and default of each field."""
    rows = ["| field | meaning | default |\n", "|---|---|---|\n"]
    for _, name, before, field in told_fields(spec):
        rows.append(f"| `{before}{name}` | {_cell(field.description or '')} | {_default(field)} |\n")
    return "".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or value in (None, "", (), {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_duration(value)}`" if isinstance(value, float) else f"`{value}`"


def _duration(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0 or size < 1)
    return f"{seconds / size:g}{unit}"


def wrong_rows(rows: str) -> list[str]:
    """What must not be written, row by row."""
    cells = [re.split(r"(?<!\\)\|", row)[1] for row in rows.splitlines()[2:]]
    return [cell.strip().strip("`").replace("\\|", "|") for cell in cells]


def wrong_table(workflow: str, rows: str) -> str:
    """Each wrong use with what the checks say."""
    table = ["| written | `nexusflow validate` says |\n", "|---|---|\n"]
    for written in wrong_rows(rows):
        shown = written.replace("|", "\\|")
        table.append(f"| `{shown}` | {'<br>'.join(verdicts(workflow, written))} |\n")
    return "".join(table)


def verdicts(workflow: str, written: str) -> list[str]:
    """The problems of the workflow with this in its place, as they stand in a cell."""
    try:
        parse_definition(workflow.replace("HERE", written), catalogue(), check_jq=check_jq)
    except InvalidDefinition as error:
        return [
            f"`{each.code}` {_cell(each.message)}" + (f" *{_cell(each.hint)}*" if each.hint else "")
            for each in error.details
        ]
    return ["**nothing: it is valid**"]


def _cell(text: str) -> str:
    """A text in a cell: what is in backticks as it is, the rest without Markdown's own characters."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|").replace("\n", " "))
    return "".join(part if part.startswith("`") else part.replace("*", "\\*").replace("<", "&lt;") for part in parts)


def pages() -> list[Path]:
    """The pages of the words."""
    return sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.md")):
        path.write_text(redrawn(path.read_text(encoding="utf-8")), encoding="utf-8")
