"""``nexusflow test``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.console import out, print_json, say, speaks_unicode
from nexusflow.cli.sources import check_source, limits, read_bounded, read_source, show_invalid
from nexusflow.errors import InvalidDefinition, InvalidInput, NexusError, Problem
from nexusflow.suggestions import hint_for
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.rehearsal.cases import TestFile
from nexusflow.workflows.rehearsal.suites import MAX_BYTES, Suite, inline_definition, make_suite, read_tests
from nexusflow.workflows.rehearsal.verdict import Difference, Verdict

VALUE_WIDTH = 400


@dataclass(frozen=True)
class Unusable:
    """A file that cannot be used, and why; ``content``: its bytes, as far as they were read."""

    name: str
    error: NexusError
    content: bytes | None


class RehearsalCommand:
    """One rehearsal of some test files. ``only``: the names of the cases to rehearse; none: all."""

    def __init__(self, names: list[str], only: list[str], *, as_json: bool) -> None:
        self._names, self._only, self._as_json = names, only, as_json

    def perform(self) -> int:
        """Read all files, and only if all of them can be used, rehearse their cases and say what came of them."""
        read = [_read(name) for name in self._names]
        unusable = [each for each in read if isinstance(each, Unusable)]
        if unusable:
            self._show_unusable(unusable)
            return exits.INVALID
        suites = [each for each in read if isinstance(each, Suite)]
        self._refuse_unknown(suites)
        judged: dict[str, list[Verdict]] = {}
        for name, suite in zip(self._names, suites, strict=True):
            if not self._as_json:
                say(f"{name} ({suite.definition.name})", "bold", to=out())
            judged[name] = []
            for case, given in suite.cases:
                if not self._only or case.name in self._only:
                    verdict = suite.judged(case, given)
                    judged[name].append(verdict)
                    if not self._as_json:
                        _show(verdict)
        verdicts = [verdict for each in judged.values() for verdict in each]
        passed = sum(verdict.passed for verdict in verdicts)
        if self._as_json:
            cases = [_document(name, verdict) for name, each in judged.items() for verdict in each]
            print_json({"passed": passed == len(verdicts), "cases": cases, "problems": []})
        else:
            _show_sum(passed, len(verdicts) - passed)
        return exits.SUCCEEDED if passed == len(verdicts) else exits.FAILED

    def failed(self, error: NexusError) -> dict[str, Any]:
        """What programs get where nothing was rehearsed."""
        problems = error.details or [Problem("", None, None, error.code, error.message, error.hint)]
        return {"passed": False, "cases": [], "problems": [{"file": None} | each.as_dict() for each in problems]}

    def _refuse_unknown(self, suites: list[Suite]) -> None:
        names = [case.name for suite in suites for case, _ in suite.cases]
        for name in self._only:
            if name not in names:
                raise InvalidInput(f"There is no case '{name[:200]}'.", hint_for(name, names, "Cases here"))

    def _show_unusable(self, unusable: list[Unusable]) -> None:
        if self._as_json:
            problems = [
                problem | {"file": each.name} for each in unusable for problem in self.failed(each.error)["problems"]
            ]
            print_json({"passed": False, "cases": [], "problems": problems})
            return
        for each in unusable:
            if isinstance(each.error, InvalidDefinition):
                show_invalid(each.name, each.error, each.content)
            else:
                exits.show_error(each.error)


def _read(name: str) -> Suite | Unusable:
    """A test file's cases, or what is wrong with it or with its workflow."""
    content: bytes | None = None
    try:
        content = read_bounded(name, MAX_BYTES, wanted="test file")
        document, tests = read_tests(content, name=name)
        if isinstance(tests.workflow, dict):
            definition = inline_definition(document, limits=limits(), check_jq=get_sandbox().check_jq)
        else:
            read = _workflow(name, document, tests)
            if isinstance(read, Unusable):
                return read
            definition = read
        return make_suite(document, tests, definition)
    except (InvalidDefinition, InvalidInput) as error:
        return Unusable(name, error, content)


def _workflow(name: str, document: Document, tests: TestFile) -> Definition | Unusable:
    """The workflow that a test file names. Raises InvalidDefinition where it cannot be read."""
    path = str(Path(name).parent / str(tests.workflow))
    try:
        source = read_source(path)
    except InvalidInput as error:
        problem = document.problem(
            "/workflow", "NO_WORKFLOW", error.message, "Paths are read from the test file's folder."
        )
        raise InvalidDefinition([problem]) from None
    try:
        return check_source(source)
    except InvalidDefinition as error:
        return Unusable(path, error, source.content)


def _show(verdict: Verdict) -> None:
    unicode, found = speaks_unicode(out()), verdict.rehearsed
    sign, style = (("✓" if unicode else "+"), "green") if verdict.passed else (("✗" if unicode else "x"), "red")
    told = f"{_many(len(found.records), 'record')}, {_many(len(found.calls), 'call')}"
    line = Text.assemble(
        "  ", (sign, style), " ", (verdict.case.name, "" if verdict.passed else "bold"), ("  " + told, "dim")
    )
    out().print(line, soft_wrap=True)
    for difference in verdict.differences:
        _show_difference(difference)
    if not verdict.passed and found.unused:
        say(f"      Nothing came to the mocks of {', '.join(found.unused)}.", "dim", to=out())


def _show_difference(difference: Difference) -> None:
    out().print(Text.assemble("      ", (difference.message, "red")), soft_wrap=True)
    values = [_written(difference.expected), _written(difference.found)]
    if difference.message.endswith(" differs."):
        for sign, style, value in (("-", "green", values[0]), ("+", "red", values[1])):
            out().print(Text.assemble("        ", (f"{sign} {value}", style)), soft_wrap=True)
    if difference.hint:
        out().print(Text.assemble(("      = ", "dim"), difference.hint), soft_wrap=True)


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_WIDTH else f"{text[:VALUE_WIDTH]}…"


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _show_sum(passed: int, failed: int) -> None:
    parts = [f"{passed:,} passed"] * bool(passed) + [f"{failed:,} failed"] * bool(failed)
    say(f"{_many(passed + failed, 'case')}: {', '.join(parts)}", "bold red" if failed else "bold green", to=out())


def _document(name: str, verdict: Verdict) -> dict[str, Any]:
    """A case as programs get it."""
    found = verdict.rehearsed
    return {
        "file": name,
        "name": verdict.case.name,
        "passed": verdict.passed,
        "status": found.status if found.unanswered is None else None,
        "output": found.output,
        "error": found.error,
        "differences": [each.__dict__ for each in verdict.differences],
        "unused_mocks": found.unused,
    }
