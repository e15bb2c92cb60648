"""What a workflow of ``workflows.py`` means, without any engine: every step's state and output, and the run's end.

Each scope is worked out as if no failure ended it. Where one does, what else of the scope ran is a matter of time:
those places are not ``certain``, and need only agree where the engine recorded them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FAILED = {"failed", "blocked"}
ERROR = "<error>"
Place = tuple[str, str]


@dataclass
class Result:
    """``blame``: the steps that may have ended the scope (none: it went well)."""

    output: Any
    blame: set[str] = field(default_factory=set)


@dataclass
class Expected:
    state: str
    output: Any
    certain: bool = True


def numbers(value: Any) -> Iterator[int]:
    """Every number in a value."""
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from numbers(each)


class Reference:
    """Works out one run; ``places`` holds every place that may be recorded."""

    def __init__(self, definition: dict[str, Any], given: dict[str, Any]) -> None:
        self._input = given
        self.places: dict[Place, Expected] = {}
        self.needs: dict[Place, list[Place]] = {}
        self.run = self._scope(definition, "", "", {})
        if self.run.blame:
            self._doubt("", "")

    def _scope(self, scope: dict[str, Any], path: str, item: str, loop: dict[str, Any]) -> Result:
        done: dict[str, Expected] = {}
        blame: set[str] = set()
        left = list(scope["steps"])
        while left:
            step = next(each for each in left if all(need in done for need in each["needs"]))
            left.remove(step)
            place = (f"{path}/{step['id']}" if path else step["id"], item)
            done[step["id"]], blamed = self._step(step, place, done, loop)
            self.places[place] = done[step["id"]]
            if step.get("join", "all_success") in ("all_success", "all_done"):
                self.needs[place] = [(f"{path}/{need}" if path else need, item) for need in step["needs"]]
            if done[step["id"]].state == "failed" and step.get("on_error", "fail") == "fail":
                blame |= blamed
        last = done[scope["steps"][-1]["id"]].output
        output = self._value(scope["output"], done, loop) if "output" in scope else last
        return Result(output, blame)

    def _step(
        self, step: dict[str, Any], place: Place, done: dict[str, Expected], loop: dict[str, Any]
    ) -> tuple[Expected, set[str]]:
        states = [done[need].state for need in step["needs"]]
        if not self._may_run(step.get("join", "all_success"), states):
            return Expected("blocked", None), set()
        if not self._value(step.get("when", True), done, loop):
            return Expected("skipped", None), set()
        if step["type"] == "foreach":
            return self._foreach(step, place, done, loop)
        if step["type"] == "switch":
            return self._switch(step, place, done, loop)
        if step["with"]["jq"].startswith("error"):
            return Expected("failed", None), {place[0]}
        own = int(re.findall(r"\+ (\d+) \|", step["with"]["jq"])[0])
        return Expected("succeeded", (sum(numbers(self._value(step["with"]["input"], done, loop))) + own) % 1000), set()

    @staticmethod
    def _may_run(join: Any, states: list[str]) -> bool:
        if join == "all_done" or not states:
            return True
        if join == "all_success":
            return not FAILED.intersection(states)
        wanted = 1 if join == "any_success" else join["n"]
        return states.count("succeeded") >= wanted or set(states) == {"skipped"}

    def _foreach(
        self, step: dict[str, Any], place: Place, done: dict[str, Expected], loop: dict[str, Any]
    ) -> tuple[Expected, set[str]]:
        path, item = place
        items = self._value(step["with"]["items"], done, loop)
        if not isinstance(items, list):
            return Expected("failed", None), {path}
        policy, name, outputs, blame = step["with"]["on_item_error"], step["with"]["as"], [], set()
        for index, each in enumerate(items):
            inside = f"{item}.{index}" if item else str(index)
            result = self._scope(step, path, inside, {**loop, name: each, f"{name}_index": index})
            state = "failed" if result.blame else "succeeded"
            output = result.output if not result.blame else ERROR if policy == "collect" else None
            self.places[path, inside] = Expected(state, output)
            blame |= result.blame
            if result.blame:
                self._doubt(f"{path}/", inside)
            if not (result.blame and policy == "skip"):
                outputs.append(output)
        if blame and policy == "fail":
            self._doubt(f"{path}/", item)
            for index in range(len(items)):
                self.places[path, f"{item}.{index}" if item else str(index)].certain = False
            return Expected("failed", None), blame
        return Expected("succeeded", outputs), set()

    def _switch(
        self, step: dict[str, Any], place: Place, done: dict[str, Expected], loop: dict[str, Any]
    ) -> tuple[Expected, set[str]]:
        path, item = place
        branches = [(str(number), case) for number, case in enumerate(step["cases"])]
        chosen = next(((name, case) for name, case in branches if self._value(case["when"], done, loop)), None)
        if chosen is None and "default" in step:
            chosen = ("default", step["default"])
        if chosen is None:
            return Expected("succeeded", None), set()
        result = self._scope(chosen[1], f"{path}/{chosen[0]}", item, loop)
        if result.blame:
            self._doubt(f"{path}/", item)
            return Expected("failed", None), result.blame
        return Expected("succeeded", result.output), set()

    def _doubt(self, below: str, item: str) -> None:
        """What lies below a path, at an item or inside it, may or may not be recorded."""
        for (path, at), expected in self.places.items():
            if path.startswith(below) and (not item or at == item or at.startswith(f"{item}.")):
                expected.certain = False

    def _value(self, value: Any, done: dict[str, Expected], loop: dict[str, Any]) -> Any:
        if isinstance(value, list):
            return [self._value(each, done, loop) for each in value]
        if not isinstance(value, str):
            return value
        source = value.removeprefix("${{ ").removesuffix(" }}")
        if found := re.fullmatch(r"input\.one == (\d)", source):
            return int(found.group(1)) == self._input["one"]
        root, _, rest = source.partition(".")
        if root == "input":
            return self._input[rest]
        if root != "steps":
            return loop[root]
        name, _, what = rest.partition(".")
        return done[name].output if what == "output" else done[name].state == "succeeded"
