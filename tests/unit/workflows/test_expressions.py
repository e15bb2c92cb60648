"""Templates, references, checks and plain values: nothing here starts a process."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nexusflow.errors import Permanent
from nexusflow.workflows.evaluation.expressions import (
    RESERVED_NAMES,
    ExpressionError,
    Reference,
    check_syntax,
    is_true,
    parse,
    references,
    resolve,
)

SCOPE = {
    "input": {"url": "https://shop.example", "n": 2, "none": None, "odd key": {"a/b": [10, {"x": 1.5}]}},
    "steps": {"fetch": {"output": {"body": {"items": [{"x": 1}, {"x": 2}]}}, "state": "succeeded", "error": None}},
    "run": {"id": "r1"},
    "order": {"email": "a@example.com"},
    "order_index": 0,
}


class NoEvaluator:
    """Plain references must not need an engine."""

    def cel_all(self, sources: Sequence[str], variables: Mapping[str, Any]) -> list[Any]:
        raise AssertionError(f"asked for {sources}")


class Recorder:
    """Keeps what it was asked, and answers with the sources' lengths."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], Mapping[str, Any]]] = []

    def cel_all(self, sources: Sequence[str], variables: Mapping[str, Any]) -> list[Any]:
        self.asked.append((list(sources), variables))
        return [len(source) for source in sources]


def plain(value: Any) -> Any:
    return resolve(value, SCOPE, NoEvaluator())


def problem(text: str) -> ExpressionError:
    [(pointer, error)] = check_syntax({"with": [text]})
    assert pointer == "/with/0"
    return error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no expression", "no expression"),
        ("${{ input.url }}", "https://shop.example"),
        ("${{input.n}}", 2),
        ("${{ input.n }}\n", 2),
        ("${{ input.none }}", None),
        ("${{ steps.fetch.output.body.items[1].x }}", 2),
        ("${{ steps['fetch'].output.body.items }}", [{"x": 1}, {"x": 2}]),
        ("${{ input['odd key'][\"a/b\"][1].x }}", 1.5),
        ("${{ input.`odd key`.`a/b`[0] }}", 10),
        ("${{ (order).email }}", "a@example.com"),
        ("To ${{ order.email }} (${{ order_index }})", "To a@example.com (0)"),
        ("[${{ input.none }}] ${{ steps.fetch.output.body }}", '[] {"items":[{"x":1},{"x":2}]}'),
        ("$${{ input.url }}", "${{ input.url }}"),
        ("a $${{ b }} ${{ run.id }}", "a ${{ b }} r1"),
        ("$ { { x }} }}", "$ { { x }} }}"),
    ],
)
def test_plain_values(text: str, value: Any) -> None:
    assert plain(text) == value


def test_values_are_replaced_at_every_depth_and_keys_are_not() -> None:
    value = {"${{ x }}": ["${{ input.n }}", {"deep": ("${{ run.id }}", 3, None, True)}]}
    assert plain(value) == {"${{ x }}": [2, {"deep": ["r1", 3, None, True]}]}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("${{ input.ulr }}", "'input.ulr' is not there: input has no 'ulr'", "Did you mean 'url'?"),
        ("${{ stps.fetch }}", "an expression has no 'stps'", "Did you mean 'steps'?"),
        ("${{ steps.fetch.output.body.items[2] }}", "is a list and has 2 items", "counted from 0"),
        ("${{ steps.fetch.output.body.items.x }}", "is a list", "named by number"),
        ("${{ input.none.x }}", "input.none is null", "input.none != null ?"),
        ("${{ input.url.x }}", "input.url is text and has no parts", ""),
        ("${{ input.__class__ }}", "input has no '__class__'", "There are: "),
        ("${{ run['items'] }}", "run has no 'items'", "There are: id."),
    ],
)
def test_a_missing_reference_says_what_is_there(text: str, message: str, hint: str) -> None:
    with pytest.raises(Permanent) as caught:
        plain(text)
    assert caught.value.code == "REFERENCE_MISSING"
    assert caught.value.cause == "user"
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_expressions_are_asked_together_with_only_the_data_they_refer_to() -> None:
    recorder = Recorder()
    value = {"a": "${{ steps.fetch.output.body.items.size() + 1 }}", "b": ["${{ order_index + 1 }}", "${{ input.n }}"]}
    resolved = resolve(value, SCOPE, recorder)
    [(sources, variables)] = recorder.asked
    assert sources == ["steps.fetch.output.body.items.size() + 1", "order_index + 1"]
    assert variables == {
        "steps": {"fetch": {"output": {"body": {"items": [{"x": 1}, {"x": 2}]}}}},
        "order_index": 0,
    }
    assert resolved == {"a": len(sources[0]), "b": [len(sources[1]), 2]}


def test_data_is_cut_to_the_widest_reference() -> None:
    recorder = Recorder()
    resolve("${{ has(input.n) && input.size() > 1 && steps.gone.output == 1 }}", SCOPE, recorder)
    assert recorder.asked[0][1] == {"input": SCOPE["input"], "steps": {}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("${{ input.url }}", ["input.url"]),
        ("x ${{ a.b[0].c }} ${{ d }}", ["a.b[0].c", "d"]),
        ("${{ input.items.filter(x, x.a > input.min).map(y, y.b + z) }}", ["input.items", "input.min", "z"]),
        ("${{ a.exists(x, b.all(y, x.k == y.k)) && x.k }}", ["a", "b", "x.k"]),
        ("${{ steps[input.name].output }}", ["steps", "input.name"]),
        ("${{ steps.a.output[run.n + 1].x }}", ["steps.a.output", "run.n"]),
        ("${{ has(input.a.b) ? input.?c.orValue(1) : math.abs(run.n) }}", ["input.a.b", "input.c", "run.n"]),
        ("${{ cel.bind(t, input.a, t + u) }}", ["input.a", "u"]),
        ("${{ input.a.optMap(v, v + w).orValue(0) }}", ["input.a", "w"]),
        ("${{ type(input.a) == int && 'steps.b' != \"x\" }}", ["input.a"]),
        ("${{ {'k': input.v, input.k: [run.id]} }}", ["input.v", "input.k", "run.id"]),
        ("${{ -input.a + (!input.b ? 1 : 2) // input.c\n }}", ["input.a", "input.b"]),
        ("${{ steps.a.output['x y'].`p-q`.in }}", ['steps.a.output["x y"]["p-q"].in']),
        ("$${{ input.url }}", []),
        ("${{ input. }}", []),
    ],
)
def test_references(text: str, found: list[str]) -> None:
    assert [str(each) for each in references(text)] == found


def test_a_reference_knows_its_place() -> None:
    value = {"a/b": ["", {"~": "t ${{ 1 + steps.fetch.output.n }}"}]}
    assert references(value) == [Reference(("steps", "fetch", "output", "n"), 10, "/a~1b/1/~0")]


@pytest.mark.parametrize(
    ("text", "code", "words", "offset"),
    [
        ("x ${{ a", "EXPRESSION_SYNTAX", "not closed", 2),
        ("${{  }}", "EXPRESSION_SYNTAX", "empty", 3),
        ("${{ a and b }}", "EXPRESSION_SYNTAX", "&&", 6),
        ("${{ a = 1 }}", "EXPRESSION_SYNTAX", "==", 6),
        ("${{ a & b }}", "EXPRESSION_SYNTAX", "&&", 6),
        ("${{ 'abc }}", "EXPRESSION_SYNTAX", "not closed", 4),
        ("${{ a..b }}", "EXPRESSION_SYNTAX", "field's name", 6),
        ("${{ a + }}", "EXPRESSION_SYNTAX", "ends", 8),
        ("${{ size(a }}", "EXPRESSION_SYNTAX", "')'", 11),
        ("${{ a.len() }}", "UNKNOWN_FUNCTION", "size(", 6),
        ("${{ uper(a) }}", "UNKNOWN_FUNCTION", "uper", 4),
        ("${{ a.lowerAsci() }}", "UNKNOWN_FUNCTION", "lowerAscii", 6),
        ("${{ trim(a) }}", "UNKNOWN_FUNCTION", "value.trim(", 4),
        ("${{ a.string() }}", "UNKNOWN_FUNCTION", "string(value)", 6),
        ("${{ math.flor(a) }}", "UNKNOWN_FUNCTION", "math.floor", 9),
        ("${{ Order{id: 1} }}", "EXPRESSION_SYNTAX", "'{'", 9),
        ("${{ '" + "é" * 1_100 + "' }}", "EXPRESSION_TOO_BIG", "longer", 3),
        ("${{ " + "(" * 30 + "1" + ")" * 30 + " }}", "EXPRESSION_TOO_BIG", "nested", 3),
        ("${{ [" + "1," * 400 + "] }}", "EXPRESSION_TOO_BIG", "parts", 3),
        ("${{ a" + ".b" * 40 + " }}", "EXPRESSION_TOO_BIG", "build on one another", 3),
        ("${{ a.map(b, a.map(c, a.map(d, a.map(e, e)))) }}", "EXPRESSION_TOO_BIG", "loops", 3),
        ("${{ a" + ".optMap(x, x)" * 20 + " }}", "EXPRESSION_TOO_BIG", "optMap", 3),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, code: str, words: str, offset: int) -> None:
    error = problem(text)
    assert error.code == code
    assert words in f"{error.message} {error.hint}"
    assert error.offset == offset
    with pytest.raises(Permanent, match="EXPRESSION_INVALID"):
        resolve(text, SCOPE, NoEvaluator())


@pytest.mark.parametrize("count", [1, 100])
def test_right_expressions_are_not_complained_about(count: int) -> None:
    right = ["${{ {'a': {'b': 1}}}}", "${{ '}}' + r'\\d' + '''it's''' }}", "${{ 0x1F + 2.5e-3 + 3u }}", "plain }}"]
    assert check_syntax({"list": right * count, "n": 1, "none": None}) == []


def test_one_expression_alone_is_whole() -> None:
    assert parse("${{ a }}").whole
    assert not parse(" ${{ a }}").whole
    assert [each.source for each in parse("${{ {'a': {}} }}${{ b }}").expressions] == ["{'a': {}}", "b"]


def test_every_name_with_a_meaning_of_its_own_is_reserved() -> None:
    assert {"input", "steps", "run", "math", "int", "in", "true"} <= RESERVED_NAMES
    assert "order" not in RESERVED_NAMES


@pytest.mark.parametrize("value", ["true", 1, 0, None, [], {}, 1.0])
def test_only_true_and_false_decide(value: Any) -> None:
    assert is_true(True) is True
    assert is_true(False) is False
    with pytest.raises(Permanent, match="WHEN_NOT_BOOLEAN"):
        is_true(value)
