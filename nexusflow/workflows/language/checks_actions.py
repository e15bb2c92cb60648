"""Rules about what steps do: their types, the inputs of their actions, connections, jq, and the run's input schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.schemas import SchemaProblem, check_schema, validate
from nexusflow.suggestions import closest
from nexusflow.workflows.evaluation.expressions import ExpressionError, parse
from nexusflow.workflows.language.checking import Checking
from nexusflow.workflows.language.definition import CONTROL_TYPES, PLANNED_STEP_TYPES
from nexusflow.workflows.language.outline import StepView, every_call, every_step

_UNKNOWN_FIELD = ("additionalProperties", "unevaluatedProperties")
_NO_USE = {
    "cache": "it is computed again as fast as it is looked up",
    "idempotency": "there is nobody to give a key to",
}
_ABOUT_THE_HOLDER = ("required", "minItems", "maxItems", "minProperties", "maxProperties", "type")
"""Keywords whose verdict on a list or an object holds whatever its values are."""


def check_types(checking: Checking) -> Iterator[Problem]:
    """Steps of a type that is neither an action nor a scope."""
    for step in every_call(checking.outline):
        is_compensation = step.pointer.endswith("/compensate")
        if not step.type or step.type in checking.catalogue or (step.type in CONTROL_TYPES and not is_compensation):
            continue
        pointer = child(step.pointer, "type")
        if is_compensation and step.type in (*CONTROL_TYPES, *PLANNED_STEP_TYPES):
            message = f"A compensation is one action; '{step.type}' is none."
            yield checking.document.problem(pointer, "WRONG_VALUE", message, "`nexusflow actions` lists them.")
            continue
        if step.type in PLANNED_STEP_TYPES:
            message = f"Steps of type '{step.type}' are not supported yet."
            yield checking.document.problem(pointer, "NOT_SUPPORTED_YET", message, "Do without it for now.")
            continue
        meant = closest(step.type, [*checking.catalogue, *CONTROL_TYPES])
        hint = f"Did you mean '{meant}'?" if meant else "`nexusflow actions` lists what a step can do."
        message = f"There is no action or step type '{step.type[:80]}'."
        yield checking.document.problem(pointer, "UNKNOWN_TYPE", message, hint)


def check_inputs(checking: Checking) -> Iterator[Problem]:
    """Inputs that do not match their action, as far as they are written out."""
    for step in every_call(checking.outline):
        action = checking.catalogue.get(step.type)
        given = step.words.get("with", {})
        if action is None or not isinstance(given, Mapping):
            continue
        base = child(step.pointer, "with")
        for found in validate(action.input, given):
            problem = _certain(found, given)
            if problem is not None:
                is_unknown = problem.keyword in _UNKNOWN_FIELD
                message = f"Input of {step.type}: {problem.message}"
                pointer = base + problem.pointer
                yield checking.document.problem(pointer, "INVALID_ACTION_INPUT", message, problem.hint, key=is_unknown)


def _certain(problem: SchemaProblem, given: Any) -> SchemaProblem | None:
    """A problem that stands whatever the expressions in the input give, or None.

    Where none of several forms fits, each of them must break on something certain; one such thing is told.
    """
    if not problem.branches:
        return problem if _stands(problem, given) else None
    forms = [[left for each in form if (left := _certain(each, given))] for form in problem.branches]
    if not all(forms):
        return None
    told = [each for form in forms for each in form]
    if any(each.pointer == problem.pointer for each in told):
        return problem
    return max(told, key=lambda each: each.pointer.count("/"))


def _stands(problem: SchemaProblem, given: Any) -> bool:
    if problem.keyword in _UNKNOWN_FIELD:
        return True
    value = _value_at(given, problem.pointer)
    if isinstance(value, str):
        kind = _template_kind(value)
        return kind == "text" or (kind == "mixed" and problem.keyword == "type")
    return problem.keyword in _ABOUT_THE_HOLDER or not _holds_expression(value)


def _value_at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, Sequence) else value[name]
    return value


def _template_kind(value: str) -> str:
    """``text``: no expression; ``whole``: may give anything; ``mixed``: gives some text."""
    try:
        template = parse(value)
    except ExpressionError:
        return "whole"
    if template.whole:
        return "whole"
    return "mixed" if template.expressions else "text"


def _holds_expression(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_expression(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_holds_expression(inner) for inner in value)
    return isinstance(value, str) and _template_kind(value) != "text"


def check_connections(checking: Checking) -> Iterator[Problem]:
    """A connection at a step whose action takes none."""
    for step in every_call(checking.outline):
        action = checking.catalogue.get(step.type)
        if action is not None and action.connection is None and step.words.get("connection") is not None:
            pointer = child(step.pointer, "connection")
            message = f"{step.type} takes no connection."
            yield checking.document.problem(pointer, "CONNECTION_NOT_TAKEN", message, "Remove it.", key=True)


def check_keys(checking: Checking) -> Iterator[Problem]:
    """A cache or an idempotency key where nothing is called; a key that is the same for everything."""
    for step in every_step(checking.outline):
        action = checking.catalogue.get(step.type)
        for word in ("cache", "idempotency"):
            if action is not None and action.pure and step.words.get(word) is not None:
                message = f"{step.type} calls nobody: {_NO_USE[word]}."
                yield checking.document.problem(
                    child(step.pointer, word), "NOT_NEEDED", message, "Remove it.", key=True
                )
        key = step.words.get("idempotency")
        if isinstance(key, str) and _template_kind(key) == "text" and not (action is not None and action.pure):
            message = f"{step.title} has one key for all runs: its effect would be had once for all of them."
            hint = 'Put in it what tells one effect from the other, such as "order-${{ input.order }}".'
            yield checking.document.problem(child(step.pointer, "idempotency"), "NO_EXPRESSION", message, hint)


def check_jq_programs(checking: Checking) -> Iterator[Problem]:
    """jq programs of ``transform`` that cannot be read."""
    if checking.check_jq is None:
        return
    for step, program in _jq_programs(checking):
        error = checking.check_jq(program)
        if error is not None:
            pointer = f"{step.pointer}/with/jq"
            yield checking.document.problem(pointer, error.code, error.message, error.hint, offset=error.offset)


def _jq_programs(checking: Checking) -> Iterator[tuple[StepView, str]]:
    for step in every_call(checking.outline):
        given = step.words.get("with")
        program = given.get("jq") if isinstance(given, Mapping) else None
        if step.type == "transform" and isinstance(program, str) and _template_kind(program) == "text":
            yield step, program


def check_input_schema(checking: Checking) -> Iterator[Problem]:
    """An ``input.schema`` that cannot be used."""
    data = checking.document.data
    given = data.get("input") if isinstance(data, Mapping) else None
    schema = given.get("schema") if isinstance(given, Mapping) else None
    if isinstance(schema, Mapping):
        for problem in check_schema(schema):
            pointer = "/input/schema" + problem.pointer
            yield checking.document.problem(pointer, "INVALID_SCHEMA", problem.message, problem.hint)
