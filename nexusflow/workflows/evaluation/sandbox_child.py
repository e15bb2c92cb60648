"""The program of a sandbox's child process: evaluates CEL and jq, and can reach nothing.

Started as a file with ``python -I -S`` and an empty environment, so it imports nothing of this package: it must
start fast and hold little. Frames on stdin and stdout: four bytes of length, then JSON.
"""

import base64
import json
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

sys.path[:0] = sys.argv[4:]  # -S leaves the installed packages out; the parent says where they are

import jq  # noqa: E402
import orjson  # noqa: E402
from cel_expr_python import cel  # noqa: E402
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings  # noqa: E402

MEMORY, MAX_OUTPUT, MAX_SECONDS = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
_EXACT = 2**53
_DIVIDE, _QUOTIENT = b"\x12\x03_/_", b"\x12\x03_|_"


class Refused(Exception):
    """An evaluation that ends with an error of its author's."""


# -- functions beyond CEL's own ---------------------------------------------------------------------------------------


def _numbers(values: list[Any]) -> list[Any]:
    if all(type(value) in (int, float) for value in values):
        return values
    raise Refused("only numbers can be used here")


def quotient(left: Any, right: Any) -> float:
    """``/`` on JSON's numbers: 7 / 2 is 3.5, whether or not the data wrote 7 as 7.0."""
    if not all(type(side) in (int, float) for side in (left, right)):
        raise Refused("'/' works on numbers only")
    return float(left / right)


def total(values: list[Any]) -> Any:
    """The sum of a list of numbers; 0 of an empty one."""
    return math.fsum(values) if any(type(value) is float for value in _numbers(values)) else sum(values)


def round_half_up(value: Any, digits: int) -> float:
    """The number with ``digits`` decimals, halves away from zero as people round money."""
    if not -15 <= digits <= 15:
        raise Refused("a number is rounded to between -15 and 15 decimals")
    exact = Decimal(repr(_numbers([value])[0]))
    return float(exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def sort(values: list[Any]) -> list[Any]:
    """The list in order: all numbers or all texts."""
    if not all(type(value) is str for value in values):
        _numbers(values)
    return sorted(values)


def distinct(values: list[Any]) -> list[Any]:
    """The list without repetitions, in the order of first appearance."""
    found: dict[bytes, Any] = {}
    for value in values:
        found.setdefault(orjson.dumps(to_json(value), option=orjson.OPT_SORT_KEYS), value)
    return list(found.values())


def flatten(values: list[Any]) -> list[Any]:
    """The list with the lists in it laid out, one level."""
    return [inner for value in values for inner in (value if isinstance(value, list) else [value])]


def from_json(text: str) -> Any:
    """The value of a JSON text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the text is not JSON: {error}") from None


def _overloads() -> Iterator[Any]:
    kind = cel.Type
    values = cel.Type.List(kind.DYN)

    def function(name: str, result: Any, *shapes: Any, member: bool = False, impl: Callable[..., Any]) -> Any:
        made = [cel.Overload(f"nexus_{name}_{member}_{i}", result, list(s), member, impl) for i, s in enumerate(shapes)]
        return cel.FunctionDecl(name, made)

    mixed = ([kind.INT, kind.DOUBLE], [kind.DOUBLE, kind.INT])
    yield function("_+_", kind.DOUBLE, *mixed, impl=lambda a, b: float(a + b))
    yield function("_-_", kind.DOUBLE, *mixed, impl=lambda a, b: float(a - b))
    yield function("_*_", kind.DOUBLE, *mixed, impl=lambda a, b: float(a * b))
    yield function("_|_", kind.DYN, [kind.DYN, kind.DYN], impl=quotient)
    yield function("round", kind.DOUBLE, [kind.DYN, kind.INT], impl=round_half_up)
    yield function("toJson", kind.STRING, [kind.DYN], impl=lambda value: orjson.dumps(to_json(value)).decode())
    yield function("fromJson", kind.DYN, [kind.STRING], impl=from_json)
    yield function("sum", kind.DYN, [values], impl=total)
    yield function("sum", kind.DYN, [values], member=True, impl=total)
    yield function("sort", kind.DYN, [values], member=True, impl=sort)
    yield function("distinct", kind.DYN, [values], member=True, impl=distinct)
    yield function("reverse", kind.DYN, [values], member=True, impl=lambda values: values[::-1])
    yield function("flatten", kind.DYN, [values], member=True, impl=flatten)


# -- evaluation -------------------------------------------------------------------------------------------------------

ENVIRONMENT = cel.NewEnv(
    variables={},
    extensions=[
        ext_strings.ExtStrings(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_encoders.ExtEncoders(),
        ext_bindings.ExtBindings(),
        *(cel.CelExtension(f"nexus{number}", [each]) for number, each in enumerate(_overloads())),
    ],
)


@lru_cache(maxsize=1_024)
def compile_cel(source: str) -> Any:
    """The compiled expression, with ``/`` renamed: the engine's own division of whole numbers cuts the fraction off."""
    compiled = ENVIRONMENT.compile(source, disable_check=True).serialize()
    return ENVIRONMENT.deserialize(compiled.replace(_DIVIDE, _QUOTIENT))


@lru_cache(maxsize=256)
def compile_jq(source: str) -> Any:
    """The compiled jq program."""
    return jq.compile(source)


def to_json(value: Any) -> Any:
    """A CEL value as JSON: whole doubles as integers, times as RFC 3339, durations as seconds, bytes as base64."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused("the result is not a number that JSON knows (infinite, or not a number)")
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else orjson.dumps(key).decode(): to_json(each) for key, each in value.items()
        }
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return to_json(value.total_seconds())
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, cel.Type):
        return str(value.name()).lower()
    raise Refused("the result has no JSON form")


def evaluate_cel(source: str, activation: Any) -> Any:
    """The JSON value of an expression; raises Refused with the engine's own words."""
    result = compile_cel(source).eval(activation)
    try:
        # Errors come back as values; of optional values the binding knows neither type nor value.
        if result.type() == cel.Type.ERROR:
            raise Refused(str(result.value()))
        plain = result.plain_value()
    except TypeError:
        raise Refused("optional result") from None
    return to_json(plain)


def evaluate_jq(source: str, text: str) -> Any:
    """The one output of a jq program."""
    outputs = list(islice(iter(compile_jq(source).input_text(text)), 2))
    if len(outputs) != 1:
        raise Refused("no output" if not outputs else "several outputs")
    return outputs[0]


def encode(value: Any) -> bytes:
    """The value as JSON. jq gives 1e300 as a whole number, which JSON for others writes as 1e300 again."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(orjson.loads(json.dumps(value)))


def answer(evaluate: Callable[[], Any]) -> bytes:
    """The frame for one evaluation: its value, or what went wrong."""
    try:
        value = encode(evaluate())
        if len(value) <= MAX_OUTPUT:
            return b'{"value":' + value + b"}"
        failure = ("limit", "output")
    except MemoryError:
        failure = ("limit", "memory")
    except RecursionError:
        failure = ("limit", "depth")
    except Exception as error:  # the engines raise what they like; the parent explains it to the author
        failure = ("limit", "memory") if "std::bad_alloc" in str(error) else ("failed", str(error))
    return orjson.dumps({"kind": failure[0], "message": failure[1][:2_000].encode(errors="replace").decode()})


# -- the process ------------------------------------------------------------------------------------------------------


def read(size: int) -> bytes:
    """Exactly ``size`` bytes from the parent; ends the process when the parent is gone."""
    found = bytearray()
    while len(found) < size:
        chunk = os.read(0, size - len(found))
        if not chunk:
            os._exit(0)
        found += chunk
    return bytes(found)


def send(frame: bytes) -> None:
    """One frame to the parent."""
    data = memoryview(struct.pack(">I", len(frame)) + frame)
    while data:
        data = data[os.write(1, data) :]


def address_space() -> int:
    """The bytes of address space in use."""
    with open("/proc/self/statm", "rb") as status:  # noqa: PTH123 - pathlib would double the start-up time
        return int(status.read().split()[0]) * resource.getpagesize()


def peak_memory() -> int:
    """The most bytes of memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def confine() -> None:
    """Leaves this process an empty environment, no further file, and ``MEMORY`` bytes beyond what it holds now."""
    os.environ.clear()
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    if sys.platform == "linux":
        space = address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def serve(request: dict[str, Any]) -> None:
    """Answers one request: a frame for each of its expressions."""
    if request["op"] == "cel":
        activation = ENVIRONMENT.Activation(request["data"])
        for source in request["sources"]:
            send(answer(lambda source=source: evaluate_cel(source, activation)))  # type: ignore[misc]
    elif request["op"] == "jq":
        send(answer(lambda: evaluate_jq(request["source"], request["text"])))
    else:
        send(answer(lambda: compile_jq(request["source"]) and None))


def main() -> None:
    """Serves until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine()
    send(b"{}")
    held = peak_memory()
    while True:
        request = orjson.loads(read(struct.unpack(">I", read(4))[0]))
        # Should the parent die meanwhile, nobody else ends an evaluation: an unhandled SIGALRM kills in any code.
        signal.setitimer(signal.ITIMER_REAL, 3 * MAX_SECONDS)
        serve(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if peak_memory() > held + MEMORY // 2:
            os._exit(0)  # a heap that has grown stays fragmented: the parent starts a fresh child


if __name__ == "__main__":
    main()
