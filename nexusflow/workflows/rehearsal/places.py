"""Places of a run as a test file writes them: ``each/put`` is a step, ``each/put[3]`` what it did for one item."""

import re
from collections.abc import Mapping
from functools import cached_property

from nexusflow.workflows.planning.plan import Plan

_PLACE = re.compile(r"([^\[\]]+)(?:\[(\d{1,9}(?:\.\d{1,9})*)\])?", re.ASCII)
LOOPS = ("foreach", "until")


def parse_place(text: str) -> tuple[str, str] | None:
    """The path and the item ("" where none is written); None for a text that is no place."""
    found = _PLACE.fullmatch(text)
    return (found[1], found[2] or "") if found else None


def show_place(path: str, item: str) -> str:
    """A place as one writes it."""
    return f"{path}[{item}]" if item else path


def level_of(item: str) -> int:
    """In how many loops an item lies."""
    return item.count(".") + 1 if item else 0


class Places:
    """What a plan's runs may record, call and mock, by path, and in how many loops it lies."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def steps(self) -> Mapping[str, int]:
        """Every step, and every compensation as ``step/compensate``."""
        found = {path: self._plan.scopes[step.scope].depth for path, step in self._plan.steps.items()}
        undos = {f"{path}/compensate": found[path] for path, step in self._plan.steps.items() if step.undo is not None}
        return found | undos

    @cached_property
    def calls(self) -> Mapping[str, int]:
        """What calls an action."""
        inner = {scope.step for scope in self._plan.scopes.values()}
        return {
            path: depth
            for path, depth in self.steps.items()
            if path not in inner and (path not in self._plan.steps or self._plan.steps[path].spec["type"] != "wait")
        }

    @cached_property
    def records(self) -> Mapping[str, tuple[int, ...]]:
        """All that is recorded, with its levels: a loop is recorded itself, and once for each item or iteration."""
        found: dict[str, tuple[int, ...]] = {path: (depth,) for path, depth in self.steps.items()}
        for scope in self._plan.scopes.values():
            if scope.kind in LOOPS:
                found[scope.step] = (scope.depth - 1, scope.depth)
            elif scope.kind == "part":
                found[scope.path] = (scope.depth,)
        return found
