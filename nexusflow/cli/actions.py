"""``nexusflow actions``: what a step can do."""

from collections.abc import Iterator
from typing import Any

import yaml
from rich.table import Table

from nexusflow.cli import exits
from nexusflow.cli.console import out, print_json, say
from nexusflow.connectors.base import Action
from nexusflow.connectors.registry import actions, get_action

USUAL = ("prompt", "text", "properties")
"""Fields that no schema requires and that one gives nearly always."""


def show_actions(name: str | None, *, as_json: bool) -> int:
    """List the actions, or show one. Raises NotFound."""
    if name is None:
        _list(as_json=as_json)
    elif as_json:
        print_json(_document(get_action(name)))
    else:
        _show(get_action(name))
    return exits.SUCCEEDED


def example(action: Action) -> str:
    """A workflow of one step that does this action with the run's input."""
    schema = action.input.model_json_schema(by_alias=True)
    wanted = [*schema.get("required", ()), *(field for field in USUAL if field in schema["properties"])]
    values = {field: "." if field == "jq" else f"${{{{ input.{field} }}}}" for field in dict.fromkeys(wanted)}
    vendor, _, verb = action.name.partition(".")
    step: dict[str, Any] = {"id": (verb or vendor).partition("_")[0], "type": action.name, "with": values}
    document = {"nexusflow": "1", "name": action.name.replace(".", "-").replace("_", "-"), "steps": [step]}
    return yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)


def _summary(action: Action) -> dict[str, Any]:
    return {
        "name": action.name,
        "summary": action.summary,
        "queue": action.queue,
        "connection": action.connection,
        "pure": action.pure,
    }


def _document(action: Action) -> dict[str, Any]:
    output = action.output.model_json_schema(by_alias=True) if action.output else {}
    shown = {"input": action.input.model_json_schema(by_alias=True), "output": output, "example": example(action)}
    return _summary(action) | shown


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json([_summary(action) for action in actions()])
        return
    table = Table("Action", "What it does", "Queue", "Connection", box=None, header_style="bold", pad_edge=False)
    for action in actions():
        table.add_row(action.name, action.summary, action.queue, action.connection or "", style=None)
    out().print(table)
    say("\nnexusflow actions NAME shows an action's input, output and an example.", to=out())


def _show(action: Action) -> None:
    say(action.name, "bold", to=out())
    say(action.summary, to=out())
    queue = "wherever its neighbours run" if action.queue == "any" else f"on the queue {action.queue}"
    account = {None: "", "": ", with a connection if the step names one"}.get(
        action.connection, f", with the connection {action.connection}"
    )
    say(f"Runs {queue}{account}.", "dim", to=out())
    _fields("Input", action.input.model_json_schema(by_alias=True))
    if action.output is not None:
        _fields("Output", action.output.model_json_schema(by_alias=True))
    else:
        say("\nOutput: any value.", "bold", to=out())
    say("\nExample", "bold", to=out())
    say(example(action).rstrip(), to=out())


def _fields(title: str, schema: dict[str, Any]) -> None:
    say(f"\n{title}", "bold", to=out())
    table = Table("Field", "Type", "", "", box=None, header_style="dim", pad_edge=False, show_header=False)
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        known = name in required or title == "Output"
        default = "" if known else f"default {_shown(field.get('default'))}" if "default" in field else "optional"
        description = field.get("description", "")
        table.add_row(name, " or ".join(_types(field, schema)), "" if known else default, description)
    out().print(table)


def _shown(value: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, list) else "[]"


def _types(field: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        yield "file" if name == "FileRef" else "object"
    elif "enum" in field:
        yield " | ".join(map(str, field["enum"]))
    elif "anyOf" in field:
        yield from dict.fromkeys(kind for each in field["anyOf"] for kind in _types(each, root) if kind != "null")
    elif field.get("type") == "array":
        yield f"list of {' or '.join(_types(field.get('items', {}), root))}"
    else:
        yield str(field.get("type", "any"))
