"""Rules about expressions: their syntax, where they may stand, and what they refer to."""

from collections.abc import Iterator, Mapping
from typing import Any

from nexusflow.errors import Problem
from nexusflow.suggestions import hint_for
from nexusflow.workflows.evaluation.expressions import ExpressionError, Reference, check_syntax, parse, references
from nexusflow.workflows.language.checking import Checking
from nexusflow.workflows.language.outline import (
    ScopeView,
    Site,
    StepView,
    every_site,
    every_step,
    sees,
    visible_variables,
)

_STEP_FIELDS = ("output", "state", "error")


def check_expressions(checking: Checking) -> Iterator[Problem]:
    """Expressions that cannot be read."""
    for site in every_site(checking.outline):
        for below, error in check_syntax(site.value):
            pointer = site.pointer + below
            yield checking.document.problem(pointer, error.code, error.message, error.hint, offset=error.offset)


def check_conditions(checking: Checking) -> Iterator[Problem]:
    """Conditions and lists that are plain text, or an expression inside of text."""
    for site in every_site(checking.outline):
        if site.word not in ("when", "case", "items", "until") or not isinstance(site.value, str):
            continue
        try:
            is_whole = parse(site.value).whole
        except ExpressionError:
            continue
        if not is_whole:
            word = "when" if site.word == "case" else site.word
            found = "has text around its expression" if "${{" in site.value else "is text, not an expression"
            inner = site.value.replace("${{", "").replace("}}", "").strip()
            message = f"'{word}' {found}, so it can never be {'a list' if word == 'items' else 'true or false'}."
            hint = f'Write it as one expression: "${{{{ {inner} }}}}".'
            yield checking.document.problem(site.pointer, "NO_EXPRESSION", message, hint)


def check_references(checking: Checking) -> Iterator[Problem]:
    """References to what does not exist or is not seen from there."""
    inputs = closed_inputs(checking.document.data)
    elsewhere = {step.id: step for step in every_step(checking.outline) if step.id}
    for site in every_site(checking.outline):
        for reference in references(site.value):
            found = _check_reference(reference, site, inputs, elsewhere)
            if found is not None:
                pointer = site.pointer + reference.pointer
                yield checking.document.problem(pointer, *found, offset=reference.offset)


def closed_inputs(data: Any) -> list[str] | None:
    """The names of a run's inputs, where the definition allows no others."""
    schema: Any = data
    for word in ("input", "schema"):
        schema = schema.get(word) if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or schema.get("additionalProperties") is not False:
        return None
    declared = schema.get("properties", {})
    if not isinstance(declared, Mapping) or any(word in schema for word in ("$ref", "patternProperties", "allOf")):
        return None
    return list(declared)


def _check_reference(
    reference: Reference, site: Site, inputs: list[str] | None, elsewhere: Mapping[str, StepView]
) -> tuple[str, str, str] | None:
    """Code, message and hint of what is wrong with a reference."""
    root, *rest = reference.parts
    if root == "steps":
        return _check_step(reference, site, elsewhere)
    if root == "input":
        if rest and inputs is not None and rest[0] not in inputs:
            hint = hint_for(str(rest[0]), inputs, "Declared in input.schema")
            return "UNKNOWN_REFERENCE", f"'{reference}' names an input that input.schema does not allow.", hint
        return None
    variables = list(visible_variables(site.scope))
    if root == "run" or root in variables:
        return None
    if root in elsewhere:
        hint = f"Write steps.{root}.output."
    else:
        hint = hint_for(str(root), ["input", "steps", "run", *variables], "Seen here")
    return "UNKNOWN_REFERENCE", f"'{root}' is not known here.", hint


def _check_step(reference: Reference, site: Site, elsewhere: Mapping[str, StepView]) -> tuple[str, str, str] | None:
    if len(reference.parts) == 1 or not isinstance(reference.parts[1], str):
        message = "'steps' stands alone here: which steps it needs could not be known."
        return "UNKNOWN_REFERENCE", message, "Name the step, as in steps.fetch.output."
    name = reference.parts[1]
    is_itself = site.word == "compensate" and site.step is not None and name == site.step.id
    if not is_itself and sees(site.scope, site.step, name) is None:
        return _unseen(name, site, elsewhere)
    if len(reference.parts) > 2 and reference.parts[2] not in _STEP_FIELDS:
        hint = f"Write steps.{name}.output.{reference.parts[2]}, or one of state and error instead of output."
        return "UNKNOWN_REFERENCE", f"'{reference}': a step has output, state and error.", hint
    return None


def _unseen(name: str, site: Site, elsewhere: Mapping[str, StepView]) -> tuple[str, str, str]:
    """Why a step is not seen, and what would help."""
    step: StepView | None = site.step
    if step is not None and name == step.id and name in step.scope.by_id:
        return "REFERENCE_NOT_ANCESTOR", f"{step.title} refers to its own output.", "Refer to a step before it."
    scope, asking = site.scope, site.step
    while True:
        if asking is not None and name in scope.by_id:
            if name == asking.id:
                hint = f"Inside '{name}' its output is not there yet: refer to a step before it."
            elif scope.is_ancestor(asking.id, name):
                hint = f"'{name}' comes after it: remove that need, or refer to another step."
            else:
                hint = f"Add {name} to the needs of '{asking.id}'."
            message = f"'steps.{name}' is referred to, but '{name}' does not come before '{asking.id}'."
            return "REFERENCE_NOT_ANCESTOR", message, hint
        asking = scope.owner
        if asking is None:
            break
        scope = asking.scope
    hidden = elsewhere.get(name)
    if hidden is not None and hidden.scope.owner is not None:
        holder = hidden.scope.owner.id
        if any(scope.owner is hidden.scope.owner for scope in _scopes_of(site)):
            message = f"'steps.{name}' is in another branch of '{holder}', which does not run when this one does."
            return "REFERENCE_NOT_ANCESTOR", message, f"Refer to a step of this branch, or to one before '{holder}'."
        message = f"'steps.{name}' is inside of '{holder}' and not seen from here."
        return "REFERENCE_NOT_ANCESTOR", message, f"Refer to steps.{holder}.output, and give '{holder}' that output."
    seen = _seen_names(site)
    return "UNKNOWN_REFERENCE", f"There is no step '{name}'.", hint_for(name, seen, "Seen here")


def _seen_names(site: Site) -> list[str]:
    names = {name for scope in _scopes_of(site) for name in scope.by_id}
    return [name for name in names if sees(site.scope, site.step, name)] or list(site.scope.by_id)


def _scopes_of(site: Site) -> Iterator[ScopeView]:
    scope: ScopeView | None = site.scope
    while scope is not None:
        yield scope
        scope = scope.owner.scope if scope.owner else None
