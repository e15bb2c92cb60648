"""What a workflow of ``workflows.py`` means, without any engine: every step's state and output, and the run's end.

Each scope is worked out as if no failure ended it. Where one does, what else of the scope ran is a matter of time:
those places are not ``certain``, and need only agree where the engine recorded them. Where several failures race to
end a part of a try, ``told`` says which one won: it must be one of those that may. So it does for the compensations
that failed: which steps there were to undo is a matter of time as well.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.property.workflows import CHILDREN

FAILED = {"failed", "blocked", "timed_out"}
ENDED = {"fatal", "never"}
"""What no follower comes after: a failure that ended the scope, and what did not start because of one."""
ERROR = "<error>"
NEVER_CAME = "EVENT_DID_NOT_COME"
Place = tuple[str, str]
Blame = tuple[str, str, str]
"""Which step failed, at which item, with which code."""


@dataclass
class Result:
    """``blame``: the failures that may have ended the scope (none: it went well)."""

    output: Any
    blame: set[Blame] = field(default_factory=set)


@dataclass
class Expected:
    """``state``: as recorded; ``never``: it must not be recorded."""

    state: str
    output: Any = None
    attempts: int = 1
    certain: bool = True


def numbers(value: Any) -> Iterator[int]:
    """Every number in a value."""
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from numbers(each)


def fits(code: str, classes: list[str]) -> bool:
    """Whether an error of this code is for one of the classes: all errors here are the user's."""
    late = ("timeout",) if code == NEVER_CAME else ()
    return any(each in ("any", "user", *late) or fnmatchcase(code, each) for each in classes)


def below(item: str, index: int) -> str:
    """The item path of an item or iteration."""
    return f"{item}.{index}" if item else str(index)


def is_below(place: Place, inside: str, item: str) -> bool:
    """Whether a place lies below a path, at an item or inside it."""
    path, at = place
    return path.startswith(inside) and (not item or at == item or at.startswith(f"{item}."))


class Reference:
    """Works out one run; ``places`` holds every place that may be recorded.

    ``told``: the failures that the engine recorded for parts of tries, and of compensations. ``races``: those that may
    have been, by part. ``tries``: the parts of each try that ran, in their order. ``undos``: of each place that has a
    compensation, what that one gives.
    """

    def __init__(self, definition: dict[str, Any], given: dict[str, Any], told: Mapping[Place, Blame]) -> None:
        self._input, self._told = given, told
        self.undos: dict[Place, Expected] = {}
        self.places: dict[Place, Expected] = {}
        self.needs: dict[Place, list[Place]] = {}
        self.races: dict[Place, set[Blame]] = {}
        self.tries: dict[Place, list[str]] = {}
        self.run = self._scope(definition, "", "", {})
        if self.run.blame:
            self._doubt("", "")

    def _scope(self, scope: dict[str, Any], path: str, item: str, names: dict[str, Any]) -> Result:
        done: dict[str, Expected] = {}
        seen: dict[str, str] = {}
        blame: set[Blame] = set()
        left = list(scope["steps"])
        while left:
            step = next(each for each in left if all(need in done for need in each["needs"]))
            left.remove(step)
            name = step["id"]
            place = (f"{path}/{name}" if path else name, item)
            done[name], blamed = self._step(step, place, [seen[need] for need in step["needs"]], (done, names))
            self.places[place] = done[name]
            if step.get("join", "all_success") in ("all_success", "all_done"):
                self.needs[place] = [(f"{path}/{need}" if path else need, item) for need in step["needs"]]
            seen[name] = done[name].state
            if blamed and step.get("on_error", "fail") == "fail":
                seen[name] = "fatal"
                blame |= blamed
        last = done[scope["steps"][-1]["id"]].output
        output = self._value(scope["output"], (done, names)) if "output" in scope else last
        return Result(output, blame)

    def _step(self, step: dict[str, Any], place: Place, states: list[str], sees: Any) -> tuple[Expected, set[Blame]]:
        if (state := self._before(step.get("join", "all_success"), states)) is not None:
            return Expected(state), set()
        if not self._value(step.get("when", True), sees):
            return Expected("skipped"), set()
        if step["type"] in ("foreach", "switch", "until", "try"):
            return getattr(self, f"_{step['type']}")(step, place, sees)  # type: ignore[no-any-return]
        if step["type"] == "wait":
            if "event" in step["with"]:
                return Expected("timed_out"), {(*place, NEVER_CAME)}
            return Expected("succeeded"), set()
        if step["type"] == "workflow":
            given = {name: self._value(each, sees) for name, each in step["with"]["input"].items()}
            child = Reference(CHILDREN[step["with"]["workflow"]], given, {}).run
            codes = {(*place, code) for *_, code in child.blame}
            return (Expected("failed"), codes) if codes else (Expected("succeeded", child.output), set())
        if step["type"] == "fail" or step["with"]["jq"].startswith("error"):
            code = step["with"].get("code", "EXPRESSION_FAILED")
            rule = next((rule for rule in step.get("retry", ()) if fits(code, rule["errors"])), {"max": 0})
            return Expected("failed", attempts=1 + rule["max"]), {(*place, code)}
        own = int(re.findall(r"\+ (\d+) \|", step["with"]["jq"])[0])
        found = Expected("succeeded", (sum(numbers(self._value(step["with"]["input"], sees))) + own) % 1000)
        if "compensate" in step:
            undo = {"needs": [], **step["compensate"]}
            self.undos[place] = self._step(undo, place, [], (sees[0] | {step["id"]: found}, sees[1]))[0]
        return found, set()

    @staticmethod
    def _before(join: Any, states: list[str]) -> str | None:
        """What becomes of a step that does not come to run, by its needs; None if it does."""
        if join in ("all_done", "all_success"):
            failed = join == "all_success" and FAILED.intersection(states)
            return "never" if ENDED.intersection(states) else "blocked" if failed else None
        if states.count("succeeded") >= (1 if join == "any_success" else join["n"]):
            return None
        return "never" if ENDED.intersection(states) else None if set(states) == {"skipped"} else "blocked"

    def _foreach(self, step: dict[str, Any], place: Place, sees: Any) -> tuple[Expected, set[Blame]]:
        path, item = place
        items = self._value(step["with"]["items"], sees)
        if not isinstance(items, list):
            return Expected("failed"), {(path, item, "NOT_A_LIST")}
        policy, name, outputs, blame = step["with"]["on_item_error"], step["with"]["as"], [], set[Blame]()
        for index, each in enumerate(items):
            inside = below(item, index)
            result = self._scope(step, path, inside, sees[1] | {name: each, f"{name}_index": index})
            output = result.output if not result.blame else ERROR if policy == "collect" else None
            self._end((path, inside), f"{path}/", output, failed=bool(result.blame))
            blame |= result.blame
            if not (result.blame and policy == "skip"):
                outputs.append(output)
        if blame and policy == "fail":
            self._doubt(f"{path}/", item)
            for index in range(len(items)):
                self.places[path, below(item, index)].certain = False
            return Expected("failed"), blame
        return Expected("succeeded", outputs), set()

    def _switch(self, step: dict[str, Any], place: Place, sees: Any) -> tuple[Expected, set[Blame]]:
        path, item = place
        branches = {str(number): case for number, case in enumerate(step["cases"])}
        chosen = next((name for name, case in branches.items() if self._value(case["when"], sees)), "default")
        branch = branches.get(chosen) or step.get("default")
        if branch is None:
            return Expected("succeeded"), set()
        result = self._scope(branch, f"{path}/{chosen}", item, sees[1])
        if result.blame:
            self._doubt(f"{path}/", item)
            return Expected("failed"), result.blame
        return Expected("succeeded", result.output), set()

    def _until(self, step: dict[str, Any], place: Place, sees: Any) -> tuple[Expected, set[Blame]]:
        (path, item), given, previous = place, step["with"], None
        for index in range(given["max_iterations"]):
            inside = below(item, index)
            names = sees[1] | {given["as"]: {"index": index, "previous": previous}}
            result = self._scope(step, path, inside, names)
            self._end((path, inside), f"{path}/", result.output, failed=bool(result.blame))
            if result.blame:
                return Expected("failed"), result.blame
            previous = result.output
            done = {each["id"]: self.places[f"{path}/{each['id']}", inside] for each in step["steps"]}
            if self._value(step["until"], (done, names)):
                return Expected("succeeded", previous), set()
        return Expected("failed"), {(path, item, "LOOP_DID_NOT_END")}

    def _try(self, step: dict[str, Any], place: Place, sees: Any) -> tuple[Expected, set[Blame]]:
        result = self._part("try", step, place, sees[1])
        if result.blame and self._is_left(place):
            result.blame = {(*place, "COMPENSATION_FAILED")}
            step = step | {"catch": []}  # what is left half done is for a try further out
        for error in result.blame:
            caught = (n for n, each in enumerate(step.get("catch", ())) if fits(error[2], each.get("errors", ["any"])))
            if (number := next(caught, None)) is not None:
                catch = step["catch"][number]
                result = self._part(f"catch{number}", catch, place, sees[1] | {catch["as"]: {"code": error[2]}})
        if "finally" in step:
            last = self._part("finally", step["finally"], place, sees[1])
            result = last if last.blame else result
        return (Expected("failed"), result.blame) if result.blame else (Expected("succeeded", result.output), set())

    def _part(self, part: str, scope: Any, place: Place, names: dict[str, Any]) -> Result:
        """A part of a try; of the failures that may have ended it, the one that did."""
        path, item = f"{place[0]}/{part}", place[1]
        self.tries.setdefault(place, []).append(part)
        result = self._scope(scope, path, item, names)
        self._end((path, item), f"{path}/", result.output, failed=bool(result.blame))
        if result.blame:
            self.races[path, item] = result.blame
            told = self._told.get((path, item))
            result = Result(None, {told if told in result.blame else min(result.blame)})
        return result

    def holder(self, place: Place) -> Place | None:
        """The innermost try around a place whose own steps failed: it has the place undone."""
        around = [(p, i) for p, i in self._told if p.endswith("/try") and is_below(place, f"{p}/", i)]
        return max(around, default=None, key=lambda each: len(each[0]))

    def _is_left(self, place: Place) -> bool:
        """Whether the engine told that a step in this try could not be undone."""
        own = (f"{place[0]}/try", place[1])
        return any(p.endswith("/compensate") and self.holder((p, i)) == own for p, i in self._told)

    def _end(self, place: Place, inside: str, output: Any, *, failed: bool) -> None:
        """The record of an item, an iteration or a part."""
        self.places[place] = Expected("failed" if failed else "succeeded", output)
        if failed:
            self._doubt(inside, place[1])

    def _doubt(self, inside: str, item: str) -> None:
        """What lies below a path, at an item or inside it, may or may not be recorded."""
        for place, expected in self.places.items():
            if is_below(place, inside, item):
                expected.certain = False

    def _value(self, value: Any, sees: Any) -> Any:
        """The value with its expressions'; ``sees``: the steps of the scope, and the names around it."""
        if isinstance(value, list):
            return [self._value(each, sees) for each in value]
        if not isinstance(value, str):
            return value
        done, names = sees
        source = value.removeprefix("${{ ").removesuffix(" }}")
        if found := re.fullmatch(r"(\S+) == (\d+)", source):
            return self._value(found.group(1), sees) == int(found.group(2))
        if found := re.fullmatch(r"size\((\S+)\)", source):
            return len(self._value(found.group(1), sees))
        root, _, rest = source.partition(".")
        if root == "steps":
            name, _, what = rest.partition(".")
            return done[name].output if what == "output" else done[name].state == "succeeded"
        return self._input[rest] if root == "input" else names[root][rest] if rest else names[root]
