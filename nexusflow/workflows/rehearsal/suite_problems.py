"""What the models of a test file refuse, said to its author: each error with a place, a sentence and a hint."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.suggestions import closest, hint_for, one_of, shown_value
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.rehearsal.cases import Case, Expected, ExpectedError, MockedAnswer, MockedError, TestFile

SEE = "docs/testing.md shows a test file."
_MODELS: dict[str, type[BaseModel]] = {"expect": Expected, "mocks": MockedAnswer}
_WANTED = {
    "workflow": ("the path of a workflow's file, or a definition", "Write it like workflow: order-intake.yaml."),
    "cases": ("a list of cases, at least one", "Write it like [{name: two orders, input: {…}, expect: {…}}]."),
    "name": ("text of at most 200 characters", ""),
    "input": ("a mapping", "Write the run's input below it."),
    "mocks": ("a mapping of steps and their answers", "Write it like {fetch: {output: {…}}}."),
    "expect": ("a mapping", "Write it like {status: succeeded, output: {…}}."),
    "steps": ("a mapping of steps and their states", "Write it like {fetch: succeeded, each/put[1]: failed}."),
    "attempts": ("a mapping of steps and numbers", "Write it like {fetch: 2}."),
    "order": ("a list of steps", "Write it like [fetch, each, report]."),
    "calls": ("a mapping of steps", "Write it like {fetch: 1}, or {fetch: [{url: …}]}."),
    "code": ("capital letters, digits and _", "docs/errors.md lists the codes."),
    "error": ("a mapping with code", "Write it like {code: HTTP_STATUS, transient: true}."),
    "run_id": ("an id of 36 characters", ""),
}
_IN = {
    "mocks": ("an answer with output or error, or a list of such", "Write it like {output: {id: 7}}."),
    "steps": ("a state, or null where it does not run", ""),
    "attempts": ("a whole number", ""),
    "calls": ("a number of calls, or a list of their inputs", "Write it like 1, or [{url: …}]."),
    "order": ("the path of a step, or a list of such", "Write it like each/put."),
    "cases": ("a mapping with name", "Write it like {name: two orders, input: {…}, expect: {…}}."),
}
_KINDS = {
    "string_type": "text", "int_type": "a whole number", "bool_type": "true or false", "tuple_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip
_OTHER_NAMES = {
    "mock": "mocks", "stubs": "mocks", "fakes": "mocks", "expected": "expect", "expects": "expect", "assert": "expect",
    "then": "expect", "given": "input", "inputs": "input", "with": "input", "tests": "cases", "outputs": "output",
    "returns": "output", "return": "output", "result": "output", "raises": "error", "fails": "error",
    "states": "steps", "called": "calls", "file": "workflow", "definition": "workflow", "version": "nexusflow",
}  # fmt: skip


def suite_problems(error: ValidationError, document: Document) -> list[Problem]:
    """The errors of reading ``document.data`` as a TestFile, at most one a place."""
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False, include_context=True):
        if details["type"] == "too_short" and details["input"]:
            continue  # It counts only what could be read; what is wrong with each is said there.
        path = _path(document.data, details)
        pointer = "".join(child("", part) for part in path)
        problem = _translate(details, path, pointer, document)
        found.setdefault(pointer, problem)
    return list(found.values())


def _path(data: Any, details: ErrorDetails) -> list[str | int]:
    """A location in the author's words: without the names that pydantic gives to the forms of a value."""
    path: list[str | int] = []
    for place, part in enumerate(details["loc"]):
        is_there = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if is_there:
            data = data[part]
        if is_there or (details["type"] == "missing" and place == len(details["loc"]) - 1):
            path.append(part)
    return path


def _translate(details: ErrorDetails, path: list[str | int], pointer: str, document: Document) -> Problem:
    word, value, kind = (path[-1] if path else ""), details["input"], details["type"]
    where = _where(document.data, path[:-1])
    if word == "nexusflow" and len(path) == 1:
        is_missing = kind == "missing"
        told = "is missing" if is_missing else f"is {shown_value(value)}; it must be the text '1'"
        code = "VERSION_MISSING" if is_missing else "VERSION_UNKNOWN"
        return document.problem(pointer, code, f"'nexusflow' {told}.", 'Write nexusflow: "1" (with the quotes).')
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in _model(path[:-1]).model_fields.items()]
        other = _OTHER_NAMES.get(str(word).lower())
        hint = f"Did you mean '{other}'?" if other in known else hint_for(str(word), known)
        message = f"There is no word '{str(word)[:80]}' {where}."
        return document.problem(pointer, "UNKNOWN_WORD", message, hint, key=True)
    if kind == "missing":
        hint = _WANTED.get(str(word), ("", SEE))[1] or SEE
        return document.problem(pointer, "MISSING", f"'{word}' is missing {where}.", hint)
    wanted, hint = _wanted(path)
    subject = f"'{word}'" if isinstance(word, str) and word else "This entry"
    message = f"{subject} is {shown_value(value)}; it must be {wanted or _KINDS.get(kind, '')}."
    if kind in ("literal_error", "enum"):
        options = [each.strip("' ") for each in str(details["ctx"]["expected"]).replace(" or ", ",").split(",")]
        meant = closest(value, options) if isinstance(value, str) else None
        message = f"{subject} is {shown_value(value)}; it must be {one_of(options)}."
        hint = f"Did you mean '{meant}'?" if meant else ""
    elif kind == "greater_than_equal":
        message = f"{subject} is {shown_value(value)}; it must be at least {details['ctx']['ge']}."
    elif not (wanted or kind in _KINDS):
        message = f"{subject} is {shown_value(value)}: {details['msg']}."
    code = "WRONG_TYPE" if kind in _KINDS else "WRONG_VALUE"
    return document.problem(pointer, code, message, hint)


def _wanted(path: list[str | int]) -> tuple[str, str]:
    holder = str(path[-2]) if len(path) > 1 else ""
    if isinstance(path[-1] if path else 0, int) or holder in ("mocks", "steps", "attempts", "calls"):
        return _IN.get(holder, _IN.get(str(path[-3]) if len(path) > 2 else "", ("", "")))
    return _WANTED.get(str(path[-1]), ("", ""))


def _model(path: list[str | int]) -> type[BaseModel]:
    """The model of the mapping at a path."""
    if not path:
        return TestFile
    words = [part for part in path[2:] if isinstance(part, str)]
    if not words:
        return Case
    if words[-1] == "error" and words[0] in ("mocks", "expect"):
        return MockedError if words[0] == "mocks" else ExpectedError
    return _MODELS.get(words[0], Case)


def _where(data: Any, path: list[str | int]) -> str:
    """``in the test file``, ``in case 'two orders'``, ``in 'expect' of case 'two orders'``."""
    if len(path) < 2:
        return "in the test file"
    case = data["cases"][path[1]]
    name = case.get("name") if isinstance(case, Mapping) else None
    named = f"case '{name}'" if isinstance(name, str) else f"case {int(path[1]) + 1}"
    words = [part for part in path[2:] if isinstance(part, str)]
    if not words:
        return f"in {named}"
    return (
        f"in the mock of {words[1]} in {named}" if words[0] == "mocks" and words[1:] else f"in '{words[-1]}' of {named}"
    )
