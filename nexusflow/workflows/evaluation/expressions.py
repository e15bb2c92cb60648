"""Expressions in a definition's values: ``${{ … }}`` templates, what they refer to, and their values.

A string that is one expression gives the expression's value; expressions inside text are joined with it.
``$${{`` stands for a literal ``${{``. What is no plain reference is evaluated by an ``Evaluator`` (``sandbox.py``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import orjson

from nexusflow.errors import Permanent
from nexusflow.workflows.evaluation.cel_checks import find_references, unknown_call
from nexusflow.workflows.evaluation.cel_syntax import ExpressionError, Node, next_token, parse_cel
from nexusflow.workflows.evaluation.cel_words import RESERVED_NAMES
from nexusflow.workflows.evaluation.references import Parts, look_up, prune, show, why_missing

__all__ = [
    "RESERVED_NAMES",
    "Evaluator",
    "ExpressionError",
    "Reference",
    "Template",
    "check_jq",
    "check_syntax",
    "is_true",
    "parse",
    "plain_references",
    "references",
    "resolve",
]

OPEN, ESCAPED = "${{", "$${{"


@dataclass(frozen=True)
class Expression:
    """One ``${{ … }}``: its CEL source, what it refers to, and its parts where it is one plain reference alone."""

    source: str
    offset: int
    tree: Node
    references: tuple[tuple[Parts, int], ...]
    plain: Parts | None


@dataclass(frozen=True)
class Template:
    """A string of a definition: literal texts and expressions in turn; ``whole``: it is one expression alone."""

    parts: tuple[str | Expression, ...]
    whole: bool

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions in the order they stand."""
        return tuple(part for part in self.parts if isinstance(part, Expression))


@dataclass(frozen=True)
class Reference:
    """A free variable with the fields and indexes written after it: ``("steps", "fetch", "output", "items", 0)``.

    ``pointer``: JSON Pointer of the string inside the value; ``offset``: of the reference in that string.
    """

    parts: tuple[str | int, ...]
    offset: int
    pointer: str

    def __str__(self) -> str:
        return show(self.parts)


class Evaluator(Protocol):
    """Evaluates CEL; raises Permanent. ``sandbox.Sandbox`` is one."""

    def cel_all(self, sources: Sequence[str], variables: Mapping[str, Any]) -> list[Any]:
        """The JSON values of the sources, in their order."""
        ...


@lru_cache(maxsize=4_096)
def parse(text: str) -> Template:
    """The template in ``text``; raises ExpressionError (offset in ``text``)."""
    found: list[str | Expression] = []
    literal, position = "", 0
    while (start := text.find(OPEN, position)) >= 0:
        literal += text[position:start]
        if text.startswith(ESCAPED, start - 1) and start > position:
            literal, position = literal[:-1] + OPEN, start + len(OPEN)
            continue
        end = _closing(text, start + len(OPEN))
        found += [literal] if literal else []
        found.append(_expression(text[start + len(OPEN) : end], start + len(OPEN)))
        literal, position = "", end + 2
    literal += text[position:]
    # A YAML block scalar ends with a line break that its author did not mean.
    whole = len(found) == 1 and isinstance(found[0], Expression) and not literal.strip("\n")
    found += [literal] if literal and not whole else []
    return Template(tuple(found), whole)


def _closing(text: str, start: int) -> int:
    """Where the ``}}`` stands that ends the expression begun at ``start``: braces of maps and texts are skipped."""
    depth, position = 0, start
    while True:
        try:
            token = next_token(text, position)
        except ExpressionError as error:
            if error.message.startswith("A text"):
                raise
            position = error.offset + 1
            continue
        if token.kind == "end":
            raise ExpressionError("EXPRESSION_SYNTAX", "'${{' is not closed.", "Close it with '}}'.", start - len(OPEN))
        if token.text == "}" and depth == 0 and text.startswith("}}", token.offset):
            return token.offset
        depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind == "op" else 0
        position = token.offset + len(token.text)


def _expression(source: str, offset: int) -> Expression:
    if not source.strip():
        raise ExpressionError("EXPRESSION_SYNTAX", "The expression is empty.", "Write one, or leave it out.", offset)
    try:
        tree = parse_cel(source)
        unknown = unknown_call(tree)
        if unknown is not None:
            raise unknown
    except ExpressionError as error:
        raise ExpressionError(error.code, error.message, error.hint, offset + error.offset) from None
    found, plain = find_references(tree)
    return Expression(source.strip(), offset, tree, tuple((parts, offset + at) for parts, at in found), plain)


def _strings(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a JSON value with its JSON Pointer; keys are never templates."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{pointer}/{index}")


def references(value: Any) -> list[Reference]:
    """What the expressions in a JSON value refer to; strings that do not parse are left to ``check_syntax``."""
    found = []
    for pointer, text in _strings(value):
        if OPEN in text:
            try:
                expressions = parse(text).expressions
            except ExpressionError:
                continue
            found += [Reference(parts, at, pointer) for each in expressions for parts, at in each.references]
    return found


def plain_references(value: Any) -> list[Parts]:
    """Those expressions in a JSON value that are one plain reference each: what they name has to be there."""
    found: list[Parts] = []
    for _, text in _strings(value):
        if OPEN in text:
            try:
                expressions = parse(text).expressions
            except ExpressionError:
                continue
            found += [each.plain for each in expressions if each.plain is not None]
    return found


def check_syntax(value: Any) -> list[tuple[str, ExpressionError]]:
    """What is wrong with the expressions in a JSON value: JSON Pointer of the string, and the error."""
    problems = []
    for pointer, text in _strings(value):
        if OPEN in text:
            try:
                parse(text)
            except ExpressionError as error:
                problems.append((pointer, error))
    return problems


def check_jq(source: str) -> ExpressionError | None:
    """What is wrong with a jq program, or None. It is compiled in the sandbox: jq must not run in this process."""
    from nexusflow.workflows.evaluation.sandbox import get_sandbox  # noqa: PLC0415 - only here does this file need a process

    return get_sandbox().check_jq(source)


def resolve(value: Any, scope: Mapping[str, Any], evaluator: Evaluator) -> Any:
    """``value`` with every expression replaced by its value.

    ``scope``: ``input``, ``steps`` (each ``{output, state, error}``), ``run`` and the loop variables; only what is
    referred to is read. Plain references are resolved here, all others together in one call of the evaluator.
    Raises Permanent: REFERENCE_MISSING, EXPRESSION_FAILED, EXPRESSION_LIMIT, EXPRESSION_INVALID.
    """
    try:
        templates = {text: parse(text) for _, text in _strings(value) if OPEN in text}
    except ExpressionError as error:
        raise Permanent("EXPRESSION_INVALID", error.message, error.hint) from None
    needed = {each.source: each for t in templates.values() for each in t.expressions if each.plain is None}
    results = _evaluate(list(needed.values()), scope, evaluator) if needed else {}
    return _fill(value, templates, scope, results)


def _evaluate(needed: list[Expression], scope: Mapping[str, Any], evaluator: Evaluator) -> dict[str, Any]:
    variables = prune(scope, [parts for each in needed for parts, _ in each.references])
    sources = [each.source for each in needed]
    try:
        return dict(zip(sources, evaluator.cel_all(sources, variables), strict=True))
    except Permanent as error:
        failed = [each for each in needed if each.source == (error.details or {}).get("expression")]
        missing = why_missing([p for each in failed for p, _ in each.references], scope) if failed else None
        if error.code == "REFERENCE_MISSING" and missing is not None:
            raise Permanent(error.code, missing.message, missing.hint, details=error.details) from None
        raise


def _fill(value: Any, templates: Mapping[str, Template], scope: Mapping[str, Any], results: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        template = templates.get(value)
        if template is None:
            return value
        parts = [_value(part, scope, results) if isinstance(part, Expression) else part for part in template.parts]
        return parts[0] if template.whole else "".join(map(_as_text, parts))
    if isinstance(value, Mapping):
        return {key: _fill(inner, templates, scope, results) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fill(inner, templates, scope, results) for inner in value]
    return value


def _value(expression: Expression, scope: Mapping[str, Any], results: Mapping[str, Any]) -> Any:
    return results[expression.source] if expression.plain is None else look_up(expression.plain, scope)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def is_true(value: Any) -> bool:
    """Whether a resolved ``when`` holds; raises Permanent WHEN_NOT_BOOLEAN if it is neither true nor false."""
    if isinstance(value, bool):
        return value
    kinds = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", type(None): "null"}
    raise Permanent(
        "WHEN_NOT_BOOLEAN",
        f"'when' gave {kinds.get(type(value), 'something else')} where only true or false has a meaning.",
        'Compare it with something: == "yes", > 0, != null.',
    )
