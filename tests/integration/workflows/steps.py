"""Short ways to write steps that need no vendor."""

from typing import Any


def transform(name: str, needs: str = "", jq: str = ".", **words: Any) -> dict[str, Any]:
    """A step that computes; ``given`` is its input (default: null)."""
    given = words.pop("given", None)
    return {"id": name, "type": "transform", "needs": needs.split(), "with": {"input": given, "jq": jq}, **words}


def failing(name: str, needs: str = "", **words: Any) -> dict[str, Any]:
    """A step that fails at once, by its data."""
    return transform(name, needs, 'error("no good")', **words)


def foreach(name: str, items: Any, *steps: dict[str, Any], needs: str = "", **words: Any) -> dict[str, Any]:
    """A foreach; ``max_parallel``, ``on_item_error`` and ``as`` go to its ``with``."""
    options = {word: words.pop(word) for word in ("max_parallel", "on_item_error", "as") if word in words}
    given = {"items": items, **options}
    return {"id": name, "type": "foreach", "needs": needs.split(), "with": given, "steps": list(steps), **words}


def switch(name: str, cases: list[tuple[Any, list[dict[str, Any]]]], needs: str = "", **words: Any) -> dict[str, Any]:
    """A switch of (condition, steps) cases."""
    branches = [{"when": when, "steps": steps} for when, steps in cases]
    return {"id": name, "type": "switch", "needs": needs.split(), "cases": branches, **words}


def chain(*names: str, jq: str = ".") -> list[dict[str, Any]]:
    """Transforms, each needing the one before."""
    return [transform(name, before, jq) for before, name in zip(("", *names), names, strict=False)]
