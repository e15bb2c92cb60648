"""Reads a CEL expression into a tree, without the engine: what it refers to, what it calls, how big it is.

The grammar is that of the CEL specification (https://github.com/google/cel-spec, langdef) with the optional syntax
``a.?b``, ``a[?i]`` and quoted fields, and without message construction: there are no message types here.
The engine stays the judge of what an expression means; this tree only serves references and checks.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from nexusflow.workflows.evaluation.cel_words import COMPREHENSIONS, KEYWORDS

MAX_SOURCE = 2_048
MAX_NODES = 300
MAX_DEPTH = 24
MAX_TREE_DEPTH = 25
MAX_LOOP_DEPTH = 3
MAX_OPTIONAL_MAPS = 6

Kind = Literal["name", "field", "index", "call", "literal", "list", "map"]


@dataclass
class ExpressionError(Exception):
    """What is wrong with an expression; ``offset`` counts characters in the text it stands in."""

    code: str
    message: str
    hint: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True)
class Node:
    """One node: ``name`` of a name, field, function or operator; ``target`` is what a field, index or method is of."""

    kind: Kind
    offset: int
    name: str = ""
    target: "Node | None" = None
    args: tuple["Node", ...] = ()
    value: Any = None
    optional: bool = False
    depth: int = 1


_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f]|//[^\n]*)+)
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+
        |\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)
    |(?P<op>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_HINTS = {
    "&": "Write && for 'and'.",
    "|": "Write || for 'or'.",
    "=": "Write == to compare.",
    "and": "Write && for 'and'.",
    "or": "Write || for 'or'.",
    "not": "Write ! for 'not'.",
    "if": "Write condition ? this : that.",
    "None": "Write null.",
    "True": "Write true.",
    "False": "Write false.",
}
_TEXT = re.compile(r"""([rRbB]*)(\"\"\"|'''|"|')(.*)""", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'", "`": "`", "?": "?"}
_CONSTANTS = {"true": True, "false": False, "null": None}
_BINARY = (("||",), ("&&",), ("==", "!=", "<=", ">=", "<", ">", "in"), ("+", "-"), ("*", "/", "%"))


@dataclass(frozen=True)
class Token:
    """One token of the source; ``kind`` is text, number, name, quoted, op or end."""

    kind: str
    text: str
    offset: int


def next_token(source: str, position: int) -> Token:
    """The token at or after ``position``, spaces and comments skipped; raises ExpressionError."""
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            found = source[position]
            message = "A text is not closed." if found in "\"'`" else f"'{found}' does not belong in an expression."
            raise ExpressionError("EXPRESSION_SYNTAX", message, _HINTS.get(found, ""), position)
        if match.lastgroup != "space":
            return Token(str(match.lastgroup), match.group(), position)
        position = match.end()
    return Token("end", "", position)


def parse_cel(source: str) -> Node:
    """The tree of one expression; raises ExpressionError with the offset in ``source``."""
    if len(source.encode()) > MAX_SOURCE:
        raise too_big(f"The expression is longer than {MAX_SOURCE} bytes.", "Move the work into a transform step.")
    parser = _Parser(source)
    tree = parser.expression()
    if parser.token.kind != "end":
        raise parser.unexpected()
    return tree


def too_big(message: str, hint: str = "Split it over several steps, or use a transform step.") -> ExpressionError:
    """The error of an expression beyond one of its limits."""
    return ExpressionError("EXPRESSION_TOO_BIG", message, hint)


class _Parser:
    """Recursive descent, one method a rule of the grammar; every limit is enforced while reading."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes = self.depth = self.loops = self.optional_maps = 0
        self.token = next_token(source, 0)

    def advance(self) -> Token:
        token = self.token
        self.token = next_token(self.source, token.offset + len(token.text))
        return token

    def accept(self, *texts: str) -> Token | None:
        return self.advance() if self.token.text in texts and self.token.kind in ("op", "name") else None

    def expect(self, text: str) -> None:
        if self.accept(text) is None:
            raise self.unexpected(f"'{text}'")

    def unexpected(self, wanted: str = "") -> ExpressionError:
        found = "the expression ends" if self.token.kind == "end" else f"there is '{self.token.text}'"
        message = f"Where {wanted or 'an operator or the end'} should be, {found}."
        return ExpressionError("EXPRESSION_SYNTAX", message, _HINTS.get(self.token.text, ""), self.token.offset)

    def node(self, kind: Kind, offset: int, name: str = "", **rest: Any) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise too_big(f"The expression has more than {MAX_NODES} parts.")
        node = Node(kind, offset, name, **rest)
        depth = max((part.depth for part in (*node.args, *([node.target] if node.target else []))), default=0) + 1
        if name in ("&&", "||") and node.args[0].name == name:
            depth = max(node.args[0].depth, node.args[1].depth + 1)  # the engine lays such a chain out flat
        if depth > MAX_TREE_DEPTH:
            raise too_big(f"More than {MAX_TREE_DEPTH} operators, fields or calls build on one another.")
        return replace(node, depth=depth)

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise too_big(f"The expression is nested more than {MAX_DEPTH} deep.")
        tree = self.binary(0)
        if question := self.accept("?"):
            yes = self.binary(0)
            self.expect(":")
            tree = self.node("call", question.offset, "?:", args=(tree, yes, self.expression()))
        self.depth -= 1
        return tree

    def binary(self, level: int) -> Node:
        if level == len(_BINARY):
            return self.unary()
        left = self.binary(level + 1)
        while operator := self.accept(*_BINARY[level]):
            right = self.binary(level + 1)
            left = self.node("call", operator.offset, operator.text, args=(left, right))
        return left

    def unary(self) -> Node:
        signs: list[Token] = []
        while sign := self.accept(signs[0].text) if signs else self.accept("!", "-"):  # CEL refuses !-x
            signs.append(sign)
        tree = self.member()
        for sign in reversed(signs):
            tree = self.node("call", sign.offset, sign.text, args=(tree,))
        return tree

    def member(self) -> Node:
        tree = self.primary()
        while True:
            if dot := self.accept("."):
                tree = self.field(tree, dot.offset)
            elif bracket := self.accept("["):
                optional = self.accept("?") is not None
                index = self.expression()
                self.expect("]")
                tree = self.node("index", bracket.offset, target=tree, args=(index,), optional=optional)
            else:
                return tree

    def field(self, target: Node, offset: int) -> Node:
        optional = self.accept("?") is not None
        if self.token.kind not in ("name", "quoted"):
            raise self.unexpected("a field's name")
        token = self.advance()
        if token.kind == "name" and not optional and self.accept("("):
            return self.call(token, target)
        return self.node("field", offset, token.text.strip("`"), target=target, optional=optional)

    def call(self, name: Token, target: Node | None) -> Node:
        loops = target is not None and name.text in COMPREHENSIONS
        self.loops += loops
        if self.loops > MAX_LOOP_DEPTH:
            raise too_big(f"More than {MAX_LOOP_DEPTH} loops (map, filter, all, exists) stand inside one another.")
        self.optional_maps += name.text in ("optMap", "optFlatMap")
        if self.optional_maps > MAX_OPTIONAL_MAPS:
            raise too_big(f"optMap and optFlatMap stand here more than {MAX_OPTIONAL_MAPS} times.")
        args = self.elements(")")
        self.loops -= loops
        return self.node("call", name.offset, name.text, target=target, args=args)

    def elements(self, close: str) -> tuple[Node, ...]:
        found = []
        while not self.accept(close):
            if close == "]":
                self.accept("?")
            found.append(self.expression())
            if not self.accept(","):
                self.expect(close)
                break
        return tuple(found)

    def entries(self) -> tuple[Node, ...]:
        found = []
        while not self.accept("}"):
            self.accept("?")
            found.append(self.expression())
            self.expect(":")
            found.append(self.expression())
            if not self.accept(","):
                self.expect("}")
                break
        return tuple(found)

    def primary(self) -> Node:
        token = self.token
        if token.text == "-" and next_token(self.source, token.offset + 1).kind == "number":  # !-1: a literal's sign
            self.advance()
        if self.token.kind in ("text", "number"):
            token = self.advance()
            return self.node("literal", token.offset, token.kind, value=_literal(token))
        if self.accept("("):
            tree = self.expression()
            self.expect(")")
            return replace(tree, offset=token.offset) if tree.kind == "literal" else tree
        if self.accept("["):
            return self.node("list", token.offset, args=self.elements("]"))
        if self.accept("{"):
            return self.node("map", token.offset, args=self.entries())
        if token.text in _CONSTANTS:
            self.advance()
            return self.node("literal", token.offset, "constant", value=_CONSTANTS[token.text])
        if token.kind != "name" or token.text in KEYWORDS:
            raise self.unexpected("a value")
        self.advance()
        return self.call(token, None) if self.accept("(") else self.node("name", token.offset, token.text)


def _literal(token: Token) -> Any:
    """The value of a literal where a reference can use it (text, int); None for the others, which the engine reads."""
    if token.kind == "number":
        return int(token.text) if token.text.isdigit() and len(token.text) < 20 else None
    prefix, quote, body = _TEXT.fullmatch(token.text).groups()  # type: ignore[union-attr]
    text = body[: -len(quote)]
    if "b" in prefix.lower():
        return None
    if "r" in prefix.lower() or "\\" not in text:
        return text
    plain = all(escape in _ESCAPES for escape in re.findall(r"\\(.)", text, re.DOTALL))
    return re.sub(r"\\(.)", lambda match: _ESCAPES[match[1]], text) if plain else None
