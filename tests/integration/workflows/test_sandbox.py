"""Real child processes: what they compute, and that nothing an author writes gets past their limits."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nexusflow.errors import Permanent, StepError, Transient
from nexusflow.workflows.evaluation import sandbox_process
from nexusflow.workflows.evaluation.cel_syntax import ExpressionError, parse_cel
from nexusflow.workflows.evaluation.cel_words import FUNCTIONS, METHODS, NAMESPACES
from nexusflow.workflows.evaluation.expressions import check_jq, resolve
from nexusflow.workflows.evaluation.sandbox import MAX_INPUT, Sandbox

SOON = 10.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


def refused(sandbox: Sandbox, source: str, data: Any = None, language: str = "cel") -> StepError:
    """The error of an evaluation that must fail in time, and leave the sandbox working."""
    for _ in range(5):
        started = time.monotonic()
        with pytest.raises(StepError) as caught:
            sandbox.cel(source, data or {}) if language == "cel" else sandbox.jq(source, data)
        assert time.monotonic() - started < SOON
        if caught.value.code != "SANDBOX_BUSY":  # other programs may take this machine's processors
            break
    assert sandbox.cel("1 + 1", {}) == 2
    assert sandbox.jq(". + 1", 1) == 2
    assert isinstance(caught.value, Permanent)
    assert caught.value.cause == "user"
    return caught.value


DATA = {"i": 7, "d": 1.5, "four": 4.0, "l": [1, 2.5, 3], "s": ["b", "a", "b"], "m": {"a": 1}, "n": None, "t": "Hi"}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("d * 2", 3),
        ("2 * d - 1", 2),
        ("i + d", 8.5),
        ("2.5 in l && !(4 in l)", True),
        ("'a' in m", True),
        ("size(l) * 0.1", 0.30000000000000004),
        ("l.map(x, x * 2)", [2, 5, 6]),
        ("7 / 2", 3.5),
        ("four / 2", 2),
        ("i % 2", 1),
        ("'a' + '/_' + string(6 / 3)", "a/_2"),
        ("i == 7.0 && d < 2", True),
        ("l[four / 4]", 2.5),
        ("9007199254740993", 9007199254740993),
        ("18446744073709551615u", 18446744073709551615),
        ("l.sum() + sum([])", 6.5),
        ("s.sort() + s.distinct()", ["a", "b", "b", "b", "a"]),
        ("[[1], [2, [3]], 4].flatten()", [1, 2, [3], 4]),
        ("[1, 2].reverse()", [2, 1]),
        ("[round(2.675, 2), round(2.5, 0), round(i, 0)]", [2.68, 3, 7]),
        ("toJson({'a': [1, null]})", '{"a":[1,null]}'),
        ("fromJson('{\"a\": [1.5]}').a[0]", 1.5),
        ("t.lowerAscii() + ' a,b '.trim().split(',').join('-').replace('a', 'c')", "hic-b"),
        ("math.greatest(1, 2.5) + math.floor(2.7)", 4.5),
        ("timestamp('2020-01-01T00:00:00Z') + duration('90m')", "2020-01-01T01:30:00Z"),
        ("duration('90s')", 90),
        ("b'abc'", "YWJj"),
        ("{1: 'a', false: 'b', 'c': 2.0}", {"1": "a", "false": "b", "c": 2}),
        ("m.?x.orValue('none') + (has(m.a) ? '!' : '')", "none!"),
        ("l.last().value() + l[?9].orValue(1)", 4),
        ("n == null ? 'null' : n.x", "null"),
        ("type(i) == int", True),
        ("cel.bind(x, i * 2, x + x)", 28),
        ("optional.of(1).optMap(x, x + 1).orValue(0)", 2),
    ],
)
def test_values(sandbox: Sandbox, source: str, value: Any) -> None:
    parse_cel(source)
    found = sandbox.cel(source, DATA)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("t + i", "EXPRESSION_FAILED", "'+' does not work on text and a whole number"),
        ("n + 1", "EXPRESSION_FAILED", "null"),
        ("l && true", "EXPRESSION_FAILED", "true and false only"),
        ("s.charAt(1)", "EXPRESSION_FAILED", ".charAt(…) does not work on a list"),
        ("t / 2", "EXPRESSION_FAILED", "numbers only"),
        ("s.sum()", "EXPRESSION_FAILED", "only numbers"),
        ("i / 0", "EXPRESSION_FAILED", "division by zero"),
        ("[1e308].map(x, x * 10)", "EXPRESSION_FAILED", "JSON"),
        ("9223372036854775807 + 1", "EXPRESSION_FAILED", "overflow"),
        ("m.?x", "EXPRESSION_FAILED", ".orValue("),
        ("m.x", "REFERENCE_MISSING", "'x'"),
        ("n.x", "REFERENCE_MISSING", "without fields"),
        ("l[5]", "REFERENCE_MISSING", "item 5 is asked of a list of 3"),
        ("nothing + 1", "REFERENCE_MISSING", "'nothing'"),
        ("1 +", "EXPRESSION_INVALID", "cannot be read"),
        ("t.matches('(')", "EXPRESSION_FAILED", "regular expression"),
        ("m.__class__", "REFERENCE_MISSING", "__class__"),
        ("t.__class__", "REFERENCE_MISSING", "without fields"),
        ("toJson.__globals__", "REFERENCE_MISSING", "toJson"),
        ("__import__('os')", "EXPRESSION_FAILED", "import"),
    ],
)
def test_errors_are_explained(sandbox: Sandbox, source: str, code: str, words: str) -> None:
    error = refused(sandbox, source, DATA)
    assert error.code == code
    assert words in f"{error.message} {error.hint}"


TEN = "[" + ",".join("0123456789") + "]"
CEL_BOMBS = {
    "loops in loops": f"{TEN}.map(a, {TEN * 1}.map(b, cel.bind(l, {'+'.join([TEN] * 20)}, l.map(c, l.map(d, l)))))",
    "doubling": "cel.bind(a, '{}', cel.bind(b, {}, cel.bind(c, {}, cel.bind(d, {}, d + d))))".format(
        "x" * 400, "+".join("a" * 20), "+".join("b" * 20), "+".join("c" * 20)
    ),
    "lists of lists": "l.map(a, l.map(b, l.map(c, l)))",
    "replace": "'a'.replace('a', '{0}').replace('b', '{1}').replace('c', '{0}').replace('b', '{1}')".format(
        "b" * 400, "c" * 400
    ),
    "optional maps": "optional.of(l)" + ".optMap(x, x)" * 100,
    "long list": "big.map(x, big.map(y, x))",
    "format": "'%s%s%s%s'.format([big, big, big, big]) + toJson(big.map(x, big))",
}


@pytest.mark.parametrize("name", CEL_BOMBS)
def test_a_cel_bomb_is_one_error(sandbox: Sandbox, name: str) -> None:
    error = refused(sandbox, CEL_BOMBS[name], {"l": list(range(300)), "big": list(range(3_000))})
    assert error.code in ("EXPRESSION_LIMIT", "EXPRESSION_INVALID")


@pytest.mark.parametrize(
    "source",
    [
        "[range(1e9)]",
        "def f: f; f",
        "def f: 1 + f; f",
        "last(repeat(1))",
        "until(false; .)",
        'reduce range(60) as $i ("a"; . + .)',
        '"a" * 1000000000',
        '"a" * 5000000',
        "[limit(1e7; repeat(1))]",
        "reduce range(1000000) as $i (0; [.])",
    ],
)
def test_a_jq_bomb_is_one_error(sandbox: Sandbox, source: str) -> None:
    assert refused(sandbox, source, None, "jq").code == "EXPRESSION_LIMIT"


def test_memory_is_limited_before_time_is(sandbox: Sandbox) -> None:
    assert sandbox.jq('"a" * 50000000 | length', None) == 50_000_000
    assert "memory" in refused(sandbox, '"a" * 1000000000 | length', None, "jq").message


def test_the_environment_is_empty_and_files_are_out_of_reach(sandbox: Sandbox) -> None:
    assert os.environ
    assert sandbox.jq("[env, $ENV, env.PATH, input_filename]", 1) == [{}, {}, None, None]
    for source in (
        'import "a" as a; 1',
        'include "/etc/passwd"; 1',
        'import "/etc/passwd" as $a; $a',
        "input",
        "inputs",
    ):
        assert refused(sandbox, source, 1, "jq").code in ("EXPRESSION_INVALID", "EXPRESSION_FAILED")


def test_jq_gives_exactly_one_value(sandbox: Sandbox) -> None:
    assert sandbox.jq(".items | map(.x) | add", {"items": [{"x": 1}, {"x": 2.5}]}) == 3.5
    assert sandbox.jq("[.[]]", []) == []
    assert "[…]" in refused(sandbox, ".[]", [1, 2], "jq").hint
    assert "null" in refused(sandbox, "empty", 1, "jq").hint
    assert "Cannot index" in refused(sandbox, ".a", 1, "jq").message


def test_jq_programs_are_checked_without_being_run(sandbox: Sandbox) -> None:
    assert sandbox.check_jq("last(repeat(1))") is None
    error = sandbox.check_jq(".a |\n foo(1)")
    assert error == ExpressionError("JQ_SYNTAX", "jq: foo/1 is not defined (line 2, column 2).", "", 6)
    assert check_jq(".a | {") is not None
    assert check_jq("1" * 20_000).code == "EXPRESSION_TOO_BIG"  # type: ignore[union-attr]


def test_too_much_data_is_refused(sandbox: Sandbox) -> None:
    error = refused(sandbox, "x.size()", {"x": "a" * MAX_INPUT})
    assert error.code == "EXPRESSION_LIMIT"
    assert "64 bits" in refused(sandbox, "x", {"x": 2**70}).hint
    assert refused(sandbox, "[x, x, x]", {"x": "a" * 2_000_000}).code == "EXPRESSION_LIMIT"


def test_a_failed_expression_among_several_is_named(sandbox: Sandbox) -> None:
    scope = {"input": {"a": 1, "l": list(range(300))}}
    value = {"x": "${{ input.a + 1 }}", "y": "${{ input.l.map(a, input.l.map(b, input.l.map(c, input.l))) }}"}
    with pytest.raises(Permanent, match="EXPRESSION_LIMIT") as caught:
        resolve(value, scope, sandbox)
    assert caught.value.details["expression"].startswith("input.l.map")
    with pytest.raises(Permanent, match="REFERENCE_MISSING") as caught:
        resolve(["${{ input.a + 1 }}", "n: ${{ input.ab + 1 }}"], scope, sandbox)
    assert caught.value.hint == "Did you mean 'a'?"
    assert resolve(["${{ input.a + 1 }}", "n: ${{ input.a / 2 }}"], scope, sandbox) == [2, "n: 0.5"]


def test_an_idle_child_that_dies_is_not_noticed() -> None:
    sandbox = Sandbox(2)
    for _ in range(3):
        assert sandbox.cel("1 + 1", {}) == 2
        for child in sandbox._idle:
            os.kill(child.process.pid, signal.SIGKILL)
    assert sandbox.jq(".", 5) == 5
    sandbox.close()


def test_a_child_killed_at_work_is_asked_again() -> None:
    sandbox = Sandbox(1)
    sandbox.cel("1", {})
    [child] = sandbox._idle
    threading.Timer(0.05, os.kill, (child.process.pid, signal.SIGKILL)).start()
    assert sandbox.jq("[range(1000000)] | length", None) == 1_000_000
    assert sandbox._idle[0] is not child
    sandbox.close()


def test_a_child_without_processor_is_the_platforms_fault() -> None:
    sandbox = Sandbox(1)
    sandbox.cel("1", {})
    os.kill(sandbox._idle[0].process.pid, signal.SIGSTOP)
    with pytest.raises(Transient, match="SANDBOX_BUSY") as caught:
        sandbox.cel("1 + 1", {})
    assert caught.value.cause == "platform"
    assert sandbox.cel("1 + 1", {}) == 2
    sandbox.close()


def test_eight_threads_share_two_children(sandbox: Sandbox) -> None:
    bombs = threading.Semaphore(2)

    def work(number: int) -> list[Any]:
        if number % 8 == 0 and bombs.acquire(blocking=False):
            with pytest.raises(StepError):
                sandbox.jq("last(repeat(1))", None)
        return [sandbox.cel("x * 2", {"x": number}), sandbox.jq(". * 3", number)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(200))) == [[number * 2, number * 3] for number in range(200)]
    assert len(sandbox._idle) <= 2


def test_a_forked_process_makes_its_own_children(sandbox: Sandbox) -> None:
    program = textwrap.dedent("""
        import os, sys
        from nexusflow.workflows.evaluation.sandbox import get_sandbox
        assert get_sandbox().cel("1 + 1", {}) == 2
        mine = [child.process.pid for child in get_sandbox()._idle]
        places = get_sandbox()._places
        places.acquire(), places.acquire()  # other threads are evaluating while this one forks
        forked = os.fork()
        places.release(2) if forked else None
        assert get_sandbox().cel("2 + 2", {}) == 4
        assert ([child.process.pid for child in get_sandbox()._idle] == mine) == bool(forked)
        if not forked:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 7
        print(*mine)
    """)
    assert_gone(int(run_python(program)))


def test_a_busy_child_ends_after_its_parent() -> None:
    program = textwrap.dedent("""
        import os, struct, time
        from nexusflow.workflows.evaluation.sandbox_process import Child
        child, frame = Child(), b'{"op":"jq","source":"def f: f; f","text":"1"}'
        child.deadline, child.may_extend = time.monotonic() + 5, False
        child._send(struct.pack(">I", len(frame)) + frame)
        print(child.process.pid, flush=True)
        os._exit(0)
    """)
    assert_gone(int(run_python(program)))


def run_python(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def assert_gone(pid: int) -> None:
    deadline = time.monotonic() + 3 * sandbox_process.MAX_SECONDS + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.05)
    pytest.fail(f"child {pid} still runs")


def test_every_documented_function_exists_in_the_engine(sandbox: Sandbox) -> None:
    """Words the checks know must be words the engine knows: it says 'no overload' of both, so call with right types."""
    calls = [f"{space}.{name}" for space, names in NAMESPACES.items() for name in names]
    assert len(calls) > 20
    assert len(FUNCTIONS) > 10
    for source in KNOWN_CALLS:
        parse_cel(source)
        sandbox.cel(source, {})
    used = " ".join(KNOWN_CALLS)
    assert [name for name in FUNCTIONS if f"{name}(" not in used] == []
    assert [name for name in METHODS if f".{name}(" not in used] == []
    assert [call for call in calls if f"{call}(" not in used] == []


_TIME = "timestamp('2020-01-02T03:04:05Z')"
KNOWN_CALLS = [
    "bool('true')", "bytes('a')", "double('1')", "dyn(1)", "fromJson('1')", "has({'a': 1}.a)", "int('1')", "uint(1)",
    "matches('a', 'a')", "round(1.5, 0)", "size([1])", "string(duration('1s'))", "sum([1])", "toJson([1])", "type(1)",
    f"{_TIME}", "[1].all(x, x > 0)", "[1].exists(x, x > 0)", "[1].exists_one(x, x > 0)", "[1].filter(x, x > 0)",
    "[1].map(x, x)", "optional.of(1).optMap(x, x).value()", "optional.of(1).optFlatMap(x, optional.of(x)).value()",
    "'a'.charAt(0)", "'a'.contains('a')", "'a'.endsWith('a')", "'%s'.format(['a'])", "'a'.indexOf('a')",
    "['a'].join()", "'a'.lastIndexOf('a')", "'A'.lowerAscii()", "'a'.matches('a')", "'a'.replace('a', 'b')",
    "'a'.reverse()", "'a'.size()", "'a'.split('a')", "'a'.startsWith('a')", "'a'.substring(0)", "'a'.trim()",
    "'a'.upperAscii()", "[1].distinct()", "[1].first().value()", "[1].flatten()", "[1].last().value()", "[1].sort()",
    "[1].sum()", "optional.none().hasValue()", "optional.none().or(optional.of(1)).value()",
    "optional.none().orValue(1)", "optional.ofNonZeroValue(1).value()",
    *(f"{_TIME}.{name}()" for name in sorted(METHODS) if name.startswith("get")),
    *(f"math.{name}(1)" for name in ("abs", "bitNot", "greatest", "least", "sign", "sqrt")),
    *(f"math.{name}(1.5)" for name in ("ceil", "floor", "isFinite", "isInf", "isNaN", "round", "trunc")),
    *(f"math.{name}(1, 1)" for name in ("bitAnd", "bitOr", "bitXor", "bitShiftLeft", "bitShiftRight")),
    "base64.decode('YQ==')", "base64.encode(b'a')", "strings.quote('a')", "cel.bind(x, 1, x)",
]  # fmt: skip


def random_expression(rng: random.Random, depth: int) -> str:
    def inner() -> str:
        return random_expression(rng, depth - 1)

    if depth <= 0:
        return rng.choice(["1", "2.5", "'a'", "true", "null", "input.a", "steps.f.output['b c'][0]", "input.?a", "x"])
    shapes = [
        lambda: f"({inner()})",
        lambda: f"{inner()} {rng.choice(['+', '-', '*', '/', '%', '==', '<', '&&', '||', 'in'])} {inner()}",
        lambda: f"{rng.choice(['!', '-'])}{inner()}",
        lambda: f"({inner()}) ? {inner()} : {inner()}",
        lambda: f"[{inner()}, {inner()}]",
        lambda: f"{{'k': {inner()}}}.k",
        lambda: f"({inner()}).map(x, {inner()})",
        lambda: f"size({inner()})",
        lambda: f"input[{inner()}]",
        lambda: " + ".join([inner()] * rng.randrange(2, 36)),
        lambda: f"input{'.a' * rng.randrange(1, 36)}",
    ]
    return rng.choice(shapes)()


def test_what_the_checks_accept_the_engine_can_read(sandbox: Sandbox) -> None:
    rng = random.Random(7)
    accepted = 0
    for _ in range(400):
        source = random_expression(rng, rng.randrange(1, 6))
        checked = code_of(partial(parse_cel, source))
        evaluated = code_of(partial(sandbox.cel, source, {"input": {"a": 1}, "steps": {}}))
        if checked == "":
            accepted += 1
            assert evaluated in ("", "EXPRESSION_FAILED", "REFERENCE_MISSING"), source
        elif checked == "EXPRESSION_SYNTAX":
            assert evaluated == "EXPRESSION_INVALID", source
    assert accepted > 150


def code_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except (ExpressionError, StepError) as error:
        return error.code
    return ""
