"""What a foreach runs over, as its expression says when it begins."""

from typing import Any

from nexusflow.errors import Permanent
from nexusflow.settings import get_settings
from nexusflow.workflows.engine.act import storable
from nexusflow.workflows.engine.reading import Reading
from nexusflow.workflows.planning.plan import StepPlan


def items_of(reading: Reading, plan: StepPlan, item: str) -> list[Any]:
    """The foreach's list, in batches if it says so. Raises Permanent NOT_A_LIST, TOO_MANY_ITEMS."""
    items = reading.resolve(plan.spec["with"]["items"], plan.refs, item)
    if not isinstance(items, list):
        kind = {dict: "an object", str: "text", type(None): "null"}.get(type(items), "a single value")
        raise Permanent(
            "NOT_A_LIST", f"`items` gave {kind}, not a list.", "Give foreach a list; see the steps before it."
        )
    limit = get_settings().max_items
    if len(items) > limit:
        raise Permanent(
            "TOO_MANY_ITEMS",
            f"`items` has {len(items):,} entries, more than {limit:,}.",
            "Split the list, or raise NEXUSFLOW_MAX_ITEMS.",
        )
    storable(items, "list of items")
    size = plan.spec["with"].get("batch")
    return items if size is None else [items[at : at + size] for at in range(0, len(items), size)]
