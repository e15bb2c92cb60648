"""All checks of a definition: every problem at once, those of reading it, of its words and of what it means."""

from collections.abc import Callable, Iterator, Mapping

from pydantic import ValidationError

from nexusflow.errors import InvalidDefinition, Problem
from nexusflow.pointers import parent
from nexusflow.workflows.language import (
    checks_actions,
    checks_control,
    checks_expressions,
    checks_graph,
    checks_limits,
    checks_triggers,
)
from nexusflow.workflows.language.checking import Checking, JqChecker, Limits
from nexusflow.workflows.language.definition import ActionInfo, Definition
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.language.loader import read
from nexusflow.workflows.language.model_problems import model_problems
from nexusflow.workflows.language.outline import read_outline

__all__ = ["RULES", "JqChecker", "Limits", "check", "parse_definition"]

MAX_SHOWN = 100
"""Problems reported at once; what is left out is counted in a last one."""

Rule = Callable[[Checking], Iterator[Problem]]
RULES: tuple[Rule, ...] = (
    checks_graph.check_ids,
    checks_graph.check_loop_variables,
    checks_graph.check_needs,
    checks_graph.check_cycles,
    checks_graph.check_joins,
    checks_graph.check_unreachable,
    checks_control.check_loops,
    checks_control.check_tries,
    checks_control.check_compensations,
    checks_control.check_retries,
    checks_control.check_waits,
    checks_control.check_calls,
    checks_control.check_mocks,
    checks_expressions.check_expressions,
    checks_expressions.check_conditions,
    checks_expressions.check_references,
    checks_actions.check_types,
    checks_actions.check_inputs,
    checks_actions.check_connections,
    checks_actions.check_keys,
    checks_actions.check_jq_programs,
    checks_actions.check_input_schema,
    checks_triggers.check_triggers,
    checks_triggers.check_trigger_inputs,
    checks_limits.check_limits,
    checks_limits.check_keys,
)


def check(
    document: Document,
    catalogue: Mapping[str, ActionInfo],
    *,
    limits: Limits | None = None,
    check_jq: JqChecker | None = None,
) -> tuple[Definition | None, list[Problem]]:
    """The definition in a document, or None, and every problem found, in the order of the text.

    ``catalogue``: the actions by name. ``check_jq``: see ``Checking``. A definition with problems must not be run.
    """
    checking = Checking(document, read_outline(document.data), catalogue, limits or Limits(), check_jq)
    definition, problems = None, []
    try:
        definition = Definition.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = model_problems(error, document, catalogue)
    too_big = list(checks_graph.check_size(checking))
    problems += too_big
    if not too_big:
        known = {problem.path for problem in problems}
        problems += [each for rule in RULES for each in rule(checking) if each.path not in known]
    return (None if problems else definition), sorted(problems, key=_place)


def parse_definition(
    text: bytes | str,
    catalogue: Mapping[str, ActionInfo],
    *,
    name: str = "",
    limits: Limits | None = None,
    check_jq: JqChecker | None = None,
) -> Definition:
    """The checked definition in a text; raises InvalidDefinition with every problem at once.

    ``name``: the file's name, for messages and to tell JSON from YAML.
    """
    limits = limits or Limits()
    document, problems, in_doubt = read(text, name=name, max_bytes=limits.definition_bytes)
    definition = None
    if document is not None and isinstance(document.data, dict):
        definition, found = check(document, catalogue, limits=limits, check_jq=check_jq)
        problems = problems + [problem for problem in found if not _is_below(problem.path, in_doubt)]
    if problems or definition is None:
        raise InvalidDefinition(_shortened(sorted(problems, key=_place)))
    return definition


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


def _is_below(pointer: str, pointers: set[str]) -> bool:
    """Whether a value is at or inside one of these."""
    while pointer:
        if pointer in pointers:
            return True
        pointer = parent(pointer)
    return "" in pointers


def _shortened(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MAX_SHOWN:
        return problems
    left_out = len(problems) - MAX_SHOWN
    last = Problem(
        "", None, None, "MORE_PROBLEMS", f"{left_out:,} more problems are not shown.", "Correct these first."
    )
    return [*problems[:MAX_SHOWN], last]
