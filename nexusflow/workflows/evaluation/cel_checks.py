"""What an expression's tree tells: the variables it refers to, and whether all it calls exists."""

from difflib import get_close_matches

from nexusflow.workflows.evaluation.cel_syntax import ExpressionError, Node
from nexusflow.workflows.evaluation.cel_words import FUNCTIONS, MACROS, METHODS, NAMESPACES, TYPES
from nexusflow.workflows.evaluation.references import Parts

_HINTS = {
    "len": "Write size(…).",
    "length": "Write size(…).",
    "count": "Write size(…).",
    "lower": "Write text.lowerAscii().",
    "upper": "Write text.upperAscii().",
    "toLowerCase": "Write text.lowerAscii().",
    "toUpperCase": "Write text.upperAscii().",
    "str": "Write string(…).",
    "float": "Write double(…).",
    "now": "The time of an evaluation is not available: results must not depend on it.",
    "env": "The environment is not available to expressions.",
}


def _chain(node: Node) -> tuple[Node, Parts, list[Node], bool]:
    """The innermost target below a chain of fields and literal indexes, the parts, other indexes, all parts literal."""
    links, rest = [], []
    while node.kind in ("field", "index") and node.target is not None:
        links.append(node)
        node = node.target
    parts: list[str | int] = []
    literal = True
    for link in reversed(links):
        key = link.name if link.kind == "field" else link.args[0].value
        plain = link.kind == "field" or (link.args[0].kind == "literal" and type(key) in (str, int))
        rest += [] if plain else list(link.args)
        literal = literal and plain
        if literal and key is not None:
            parts.append(key)
    return node, tuple(parts), rest, literal and not any(link.optional for link in links)


def find_references(tree: Node) -> tuple[list[tuple[Parts, int]], Parts | None]:
    """The references in a tree with their offsets, and the parts of the one that is the whole tree, if it is one."""
    found: list[tuple[Parts, int]] = []
    _walk(tree, frozenset(), found)
    base, _, _, plain = _chain(tree)
    return found, found[0][0] if plain and base.kind == "name" and found else None


def _walk(tree: Node, bound: frozenset[str], found: list[tuple[Parts, int]]) -> None:
    base, parts, rest, _ = _chain(tree)
    if base.kind == "name" and base.name not in bound and base.name not in TYPES:
        found.append(((base.name, *parts), base.offset))
    for index in rest:
        _walk(index, bound, found)
    if base.kind != "call":
        for inner in base.args:
            _walk(inner, bound, found)
        return
    if base.target is not None and not _namespaced(base):
        _walk(base.target, bound, found)
    args, inner_bound = base.args, bound
    if args and args[0].kind == "name":
        if base.target is not None and base.name in MACROS:
            args, inner_bound = args[1:], bound | {args[0].name}
        elif _namespaced(base) and base.name == "bind" and len(args) == 3:
            _walk(args[1], bound, found)
            args, inner_bound = args[2:], bound | {args[0].name}
    for inner in args:
        _walk(inner, inner_bound, found)


def _namespaced(call: Node) -> bool:
    return call.target is not None and call.target.kind == "name" and call.target.name in NAMESPACES


def unknown_call(tree: Node) -> ExpressionError | None:
    """The error of the first call of something that does not exist."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        is_named = node.name != "in" and (node.name[:1].isalpha() or node.name[:1] == "_")  # else an operator
        if node.kind == "call" and is_named:
            error = _check_call(node)
            if error is not None:
                return error
        waiting += node.args
        waiting += [node.target] if node.target is not None else []
    return None


def _check_call(call: Node) -> ExpressionError | None:
    known, prefix = (FUNCTIONS, "") if call.target is None else (METHODS, ".")
    if call.target is not None and _namespaced(call):
        known, prefix = NAMESPACES[call.target.name], f"{call.target.name}."
    if call.name in known:
        return None
    close = get_close_matches(call.name, known, 1)
    hint = _HINTS.get(call.name) or (f"Did you mean {prefix}{close[0]}(…)?" if close else "")
    if call.name in METHODS and call.target is None:
        hint = f"Write it after a value: value.{call.name}(…)."
    elif call.name in FUNCTIONS and prefix == ".":
        hint = f"Write it before the value: {call.name}(value)."
    message = f"There is no function {prefix}{call.name}(…)."
    return ExpressionError("UNKNOWN_FUNCTION", message, hint, call.offset)
