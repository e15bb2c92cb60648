"""What scopes begin with and end by, told by their values: the list of a foreach, a loop that does not end."""

from typing import Any

from nexusflow.errors import Permanent
from nexusflow.settings import get_settings
from nexusflow.workflows.engine.act import storable

BLOCKED = {"code": "BLOCKED", "message": "A step that this one needs failed.", "cause": "user"}
"""The error of a step whose join cannot be met."""


def items_of(spec: dict[str, Any], value: Any) -> list[Any]:
    """The items of a foreach, in batches where it asks for them; ``value``: what its ``items`` gave.

    Raises Permanent NOT_A_LIST, TOO_MANY_ITEMS, VALUE_TOO_LARGE.
    """
    if not isinstance(value, list):
        kind = {dict: "an object", str: "text", type(None): "null"}.get(type(value), "a single value")
        raise Permanent(
            "NOT_A_LIST", f"`items` gave {kind}, not a list.", "Give foreach a list; see the steps before it."
        )
    limit = get_settings().max_items
    if len(value) > limit:
        raise Permanent(
            "TOO_MANY_ITEMS",
            f"`items` has {len(value):,} entries, more than {limit:,}.",
            "Split the list, or raise NEXUSFLOW_MAX_ITEMS.",
        )
    storable(value, "list of items")
    size = spec["with"].get("batch")
    return value if size is None else [value[at : at + size] for at in range(0, len(value), size)]


def loop_did_not_end(iterations: int) -> dict[str, Any]:
    """The error of an until whose last iteration did not make its condition true."""
    return {
        "code": "LOOP_DID_NOT_END",
        "message": f"After {iterations:,} iterations the condition of `until` is still false.",
        "hint": "Raise `max_iterations`, or see why none makes it true.",
        "cause": "user",
    }
