"""A test file, read: its cases, checked against the workflow they are about, ready to be rehearsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nexusflow.errors import InvalidDefinition, Problem
from nexusflow.workflows.language.checks import JqChecker, Limits, check
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.language.loader import read
from nexusflow.workflows.planning.plan import Plan, compile_plan
from nexusflow.workflows.rehearsal.case_checks import check_cases
from nexusflow.workflows.rehearsal.cases import Case, TestFile
from nexusflow.workflows.rehearsal.suite_problems import SEE, suite_problems
from nexusflow.workflows.rehearsal.verdict import Verdict, judge
from nexusflow.workflows.rehearsal.walk import rehearse
from nexusflow.workflows.saved.catalogue import catalogue

MAX_BYTES = 8_388_608
"""The longest test file that is read."""
NOT_VALID = "The test file is not valid."
_OF_READING = {
    "EMPTY": "The test file is empty.",
    "NOT_A_MAPPING": "A test file is a mapping of nexusflow, workflow and cases.",
}
_WITHIN = "/workflow"


@dataclass(frozen=True)
class Suite:
    """The cases of a test file, each with its input, and the workflow they are about."""

    definition: Definition
    plan: Plan
    cases: tuple[tuple[Case, dict[str, Any]], ...]

    def judged(self, case: Case, given: dict[str, Any]) -> Verdict:
        """Rehearse a case, and hold what came of it against what it expects."""
        return judge(case, rehearse(self.definition, self.plan, case, given))


def read_tests(content: bytes | str, *, name: str = "") -> tuple[Document, TestFile]:
    """The test file in a text. Raises InvalidDefinition with every problem of its words."""
    document, problems, _ = read(content, name=name, max_bytes=MAX_BYTES)
    problems = [_told(each) for each in problems]
    if document is None or problems:
        raise InvalidDefinition(problems, NOT_VALID)
    if "steps" in document.data and "cases" not in document.data:
        message = "This is a workflow, not a test file."
        hint = f"A test file names a workflow's file and its cases. {SEE}"
        raise InvalidDefinition([document.problem("/steps", "NOT_A_TEST", message, hint, key=True)], NOT_VALID)
    try:
        return document, TestFile.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = suite_problems(error, document)
    raise InvalidDefinition(sorted(problems, key=_place), NOT_VALID)


def inline_definition(document: Document, *, limits: Limits, check_jq: JqChecker) -> Definition:
    """The definition that stands in a test file itself. Raises InvalidDefinition, with places in the test file."""
    inner = Document(
        document.data["workflow"], document.text, document.name, _below(document.positions), _below(document.keys)
    )
    definition, problems = check(inner, catalogue(), limits=limits, check_jq=check_jq)
    if definition is None:
        moved = [
            Problem(_WITHIN + each.path, each.line, each.column, each.code, each.message, each.hint)
            for each in problems
        ]
        raise InvalidDefinition(moved, "The workflow in the test file is not valid.")
    return definition


def make_suite(document: Document, tests: TestFile, definition: Definition) -> Suite:
    """The cases with their inputs. Raises InvalidDefinition with every problem that they have with the workflow."""
    plan = compile_plan(definition, catalogue())
    problems, inputs = check_cases(document, tests, definition, plan)
    if problems:
        raise InvalidDefinition(sorted(problems, key=_place), NOT_VALID)
    return Suite(definition, plan, tuple(zip(tests.cases, inputs, strict=True)))


def _below(positions: Mapping[str, Any]) -> dict[str, Any]:
    """The positions of what stands below ``workflow``, as if that were the whole document."""
    return {
        pointer.removeprefix(_WITHIN): position
        for pointer, position in positions.items()
        if pointer == _WITHIN or pointer.startswith(f"{_WITHIN}/")
    }


def _told(problem: Problem) -> Problem:
    """A problem of reading in a test file's words."""
    if problem.code == "TOO_BIG":
        message = f"The test file is longer than {MAX_BYTES:,} bytes."
        return Problem("", None, None, "TOO_BIG", message, "Split it, or mock less data.")
    message = _OF_READING.get(problem.code, problem.message)
    hint = SEE if problem.code in _OF_READING else problem.hint
    return Problem(problem.path, problem.line, problem.column, problem.code, message, hint)


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0
