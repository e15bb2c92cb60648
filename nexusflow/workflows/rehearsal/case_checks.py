"""What a case says of a workflow that the workflow does not have: steps, items, calls, states, fields, input."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from nexusflow.connectors.registry import get_action
from nexusflow.errors import InvalidInput, Problem
from nexusflow.pointers import child
from nexusflow.schemas import MASK
from nexusflow.suggestions import hint_for
from nexusflow.workflows.language.definition import CONTROL_TYPES, Definition
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rehearsal.cases import Case, MockedAnswer, TestFile
from nexusflow.workflows.rehearsal.places import Places, level_of, parse_place
from nexusflow.workflows.starts.run_input import checked_input

_ANSWERS = ("output", "error", "never")


def check_cases(
    document: Document, tests: TestFile, definition: Definition, plan: Plan
) -> tuple[list[Problem], list[dict[str, Any]]]:
    """Every problem of the cases, and each case's input with the schema's defaults (where there is no problem)."""
    checks = _Checks(document, definition, plan)
    problems: list[Problem] = []
    inputs: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    for number, case in enumerate(tests.cases):
        pointer = f"/cases/{number}"
        if first.setdefault(case.name, number) != number:
            message = f"Two cases are called '{case.name}'."
            problems.append(document.problem(f"{pointer}/name", "DUPLICATE_NAME", message, "Rename one of them."))
        given, wrong = checks.input(case, f"{pointer}/input")
        inputs.append(given)
        problems += [*wrong, *checks.mocks(case, f"{pointer}/mocks"), *checks.expected(case, f"{pointer}/expect")]
    return problems, inputs


class _Checks:
    def __init__(self, document: Document, definition: Definition, plan: Plan) -> None:
        self._document, self._definition, self._plan = document, definition, plan
        self._places = Places(plan)

    def input(self, case: Case, pointer: str) -> tuple[dict[str, Any], list[Problem]]:
        """The case's input; a masked value fits any schema, and ``{$file: NAME}`` stands for an uploaded file."""
        written = _with_files(case.input)
        try:
            return checked_input(self._definition, written), []
        except InvalidInput as error:
            problems = [
                self._document.problem(pointer + each.path, "INVALID_INPUT", each.message, each.hint)
                for each in error.details or [Problem("", None, None, "", error.message, error.hint)]
                if _at(case.input, each.path) != MASK
            ]
        defaults = self._definition.input.schema_.get("properties", {})
        filled = {name: each["default"] for name, each in defaults.items() if "default" in each} | written
        return filled, problems

    def mocks(self, case: Case, pointer: str) -> Iterator[Problem]:
        """Mocks of what is no step, and answers that are none."""
        for name, answers in case.mocks.items():
            at = child(pointer, name)
            problem = self._place(name, at, self._places.steps)
            if problem is not None:
                yield problem
                continue
            several = isinstance(answers, tuple)
            for number, answer in enumerate(answers if isinstance(answers, tuple) else (answers,)):
                yield from self._answer(answer, child(at, number) if several else at, name)

    def _answer(self, answer: MockedAnswer, at: str, name: str) -> Iterator[Problem]:
        given = [word for word in _ANSWERS if word in answer.model_fields_set]
        if len(given) != 1 or (given == ["never"] and not answer.never) or (given == ["error"] and not answer.error):
            told = f"has {' and '.join(given)}" if len(given) > 1 else "says nothing"
            message = f"This answer of {name} {told}; it must have one of output, error and never."
            yield self._document.problem(at, "WRONG_ANSWER", message, "Write it like {output: {id: 7}}.")
        model = self._output_of(name)
        if model is None or not isinstance(answer.output, Mapping) or model.model_config.get("extra") == "allow":
            return
        known = [field.alias or word for word, field in model.model_fields.items()]
        for word in answer.output:
            if word not in known:
                pointer = child(child(at, "output"), word)
                message = f"The output of {name} has no field '{word[:80]}'."
                yield self._document.problem(pointer, "UNKNOWN_FIELD", message, hint_for(word, known), key=True)

    def _output_of(self, name: str) -> type[BaseModel] | None:
        path = (parse_place(name) or (name, ""))[0]
        step = self._plan.steps.get(path.removesuffix("/compensate") if path not in self._plan.steps else path)
        if step is None:
            return None
        kind = step.spec["type"] if path in self._plan.steps else step.spec["compensate"]["type"]
        return None if kind in CONTROL_TYPES else get_action(kind).output

    def expected(self, case: Case, pointer: str) -> Iterator[Problem]:
        """Expectations of what cannot be, or not together."""
        expect = case.expect
        for word, known in (("steps", self._places.records), ("attempts", self._places.steps)):
            yield from self._all(getattr(expect, word), child(pointer, word), known)
        yield from self._all(expect.calls, child(pointer, "calls"), self._places.calls, "calls an action")
        for number, entry in enumerate(expect.order):
            at = child(child(pointer, "order"), number)
            names = [(entry, at)] if isinstance(entry, str) else [(each, child(at, i)) for i, each in enumerate(entry)]
            for name, where in names:
                problem = self._place(name, where, self._places.records, key=False)
                if problem is not None:
                    yield problem
        error = expect.error
        if error is not None and error.step is not None:
            problem = self._place(error.step, f"{pointer}/error/step", self._places.records, key=False)
            if problem is not None:
                yield problem
        has_error = error is not None
        has_output = "output" in expect.model_fields_set and expect.output is not None
        if (has_error and expect.status == "succeeded") or (has_output and expect.status not in (None, "succeeded")):
            word = "error" if has_error else "output"
            message = f"A run that is {expect.status} has no {word}."
            yield self._document.problem(child(pointer, word), "CONTRADICTION", message, f"Remove status, or {word}.")

    def _all(
        self,
        named: Mapping[str, Any],
        pointer: str,
        known: Mapping[str, int | Sequence[int]],
        what: str = "",
    ) -> Iterator[Problem]:
        for name in named:
            problem = self._place(name, child(pointer, name), known, what)
            if problem is not None:
                yield problem

    def _place(
        self, name: str, pointer: str, known: Mapping[str, int | Sequence[int]], what: str = "", *, key: bool = True
    ) -> Problem | None:
        """What is wrong with a place, if anything. ``what``: what those that are known do, and steps else do not."""
        place = parse_place(name)
        if place is None:
            message = f"'{name[:80]}' is no place of a step."
            return self._document.problem(pointer, "WRONG_PLACE", message, "Write it like each/put[3].", key=key)
        path, item = place
        if path not in known:
            if what and path in self._places.records:
                return self._document.problem(pointer, "NO_CALL", f"{path} is no step that {what}.", key=key)
            hint = hint_for(path, known, "Steps here")
            message = f"The workflow {self._definition.name} has no step {path[:200]}."
            return self._document.problem(pointer, "UNKNOWN_STEP", message, hint, key=key)
        levels = known[path]
        allowed = {levels} if isinstance(levels, int) else set(levels)
        if item and level_of(item) not in allowed:
            deepest = max(allowed)
            told = f"lies in {deepest} loop{'s' if deepest > 1 else ''}" if deepest else "lies in no loop"
            example = f"{path}[{'.'.join('0' * deepest)}]" if deepest else path
            message = f"{path} has no item {item}: it {told}."
            return self._document.problem(pointer, "WRONG_ITEM", message, f"Write {example}.", key=key)
        return None


def _with_files(value: Any) -> Any:
    """The input with each file's reference in full: nothing of its content is there."""
    if isinstance(value, Mapping) and set(value) == {"$file"}:
        return {**value, "name": value["$file"], "size": 0, "sha256": "", "media_type": "application/octet-stream"}
    if isinstance(value, Mapping):
        return {key: _with_files(each) for key, each in value.items()}
    return [_with_files(each) for each in value] if isinstance(value, list) else value


def _at(value: Any, pointer: str) -> Any:
    """What stands at a pointer; None where nothing does."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value
