"""The engines' errors in the words of a workflow's author."""

import re

from nexusflow.errors import Permanent, StepError, Transient
from nexusflow.workflows.evaluation.cel_syntax import ExpressionError
from nexusflow.workflows.evaluation.sandbox_process import WORKED

_TYPES = {
    "int64": "a whole number",
    "uint64": "a whole number",
    "double": "a decimal number",
    "string": "text",
    "bool": "true or false",
    "null_type": "null",
    "list": "a list",
    "map": "an object",
    "bytes": "bytes",
    "timestamp": "a time",
    "google.protobuf.Timestamp": "a time",
    "google.protobuf.Duration": "a duration",
    "duration": "a duration",
}
_LESS = "Give it less data, or split the work over steps. Lists of thousands belong in a transform step (jq)."
_LIMITS = {
    "time": ("took longer than it may", _LESS),
    "memory": ("used more memory than it may", _LESS),
    "input": ("was given more data than it may read", "Refer to the part of the data it needs."),
    "output": ("gave a larger result than it may", "Keep only what the next steps need."),
    "depth": ("gave a result that is nested too deep", "Keep only what the next steps need."),
}
_SHOWN_SOURCE = 120
_OPTIONAL_HINT = "Ask first with has(a.b), or give a default: a.?b.orValue(0)."


def _shown(source: str) -> str:
    short = " ".join(source.split())
    return f"`{short if len(short) <= _SHOWN_SOURCE else short[:_SHOWN_SOURCE] + '…'}`" if short else "The expression"


def limit_error(limit: str, source: str) -> Permanent:
    """The error of an evaluation that broke a limit: time, memory, input, output or depth."""
    what, hint = _LIMITS[limit]
    return Permanent("EXPRESSION_LIMIT", f"{_shown(source)} {what}.", hint, details=_details(source))


def timeout_error(worked: float | None, source: str) -> StepError:
    """The error of a late answer: the author's if the child was computing, the platform's if it got no processor."""
    if worked is None or worked > WORKED:
        return limit_error("time", source)
    return Transient("SANDBOX_BUSY", "This machine is too busy to evaluate expressions in time.", cause="platform")


def _details(source: str) -> dict[str, str] | None:
    return {"expression": source} if source else None


def explain_cel(kind: str, message: str, source: str) -> Permanent:
    """The error of one expression."""
    if kind == "limit" or "iteration budget" in message.lower():
        return limit_error(message if kind == "limit" else "time", source)
    code, text, hint = _cel_words(re.sub(r"^[A-Z_]+: ", "", message))
    return Permanent(code, f"{_shown(source)}: {text}", hint, details=_details(source))


def _cel_words(message: str) -> tuple[str, str, str]:
    if found := re.match(r'Key not found in map : "?(.*?)"?$', message):
        return "REFERENCE_MISSING", f"there is no field '{found[1]}'.", _OPTIONAL_HINT
    if found := re.match(r'No value with name "(.*)" found', message):
        return "REFERENCE_MISSING", f"there is no '{found[1]}' here.", "There are input, steps, run and loop variables."
    if found := re.match(r"Index error: index=(-?\d+) size=(\d+)", message):
        text = f"item {found[1]} is asked of a list of {found[2]}."
        return "REFERENCE_MISSING", text, "Items are counted from 0."
    if "Applying SELECT" in message:
        text = "a field is read from something without fields (null, text, a number or a list)."
        return "REFERENCE_MISSING", text, "A skipped step's output is null: ask with value != null first."
    if message == "optional result":
        return "EXPRESSION_FAILED", "the result may be missing.", "End with .orValue(…), as in input.?name.orValue('')."
    if message.startswith(("ERROR: ", "INVALID_ARGUMENT: ERROR: ")):
        first = message.partition("\n")[0].rpartition("ERROR: ")[2]
        first = re.sub(r"<input>:\d+:\d+: ", "", first).rstrip(".")
        return "EXPRESSION_INVALID", f"cannot be read: {first}.", ""
    if found := re.match(r"No matching overloads found : (.*)$", message):
        return ("EXPRESSION_FAILED", *_overload_words(found[1]))
    return "EXPRESSION_FAILED", f"{message.rstrip('.')}.", _hint(message)


def _overload_words(call: str) -> tuple[str, str]:
    """``_+_(string, int64)``, ``(list).charAt(int64)`` or ``join``: which operation got which types."""
    if call in ("_&&_", "_||_", "!_", "<jump_condition>"):
        text = "&&, ||, !, ? : and loop conditions work on true and false only."
        return text, "Compare first: value > 0, value != null, value == 'yes'."
    parts = re.fullmatch(r"(?:\((?P<target>[^)]*)\)\.)?(?P<name>[^(]+)(?:\((?P<args>.*)\))?", call)
    if parts is None:
        return f"no operation fits the types in {call}.", ""
    types = [_TYPES.get(each.strip(), each.strip()) for each in (parts["args"] or "").split(",") if each.strip()]
    name = parts["name"].strip("_")
    if not name.isidentifier() and len(types) == 2:
        hint = "Write string(value) to join it with text." if name == "+" and "text" in types else ""
        if "null" in types:
            hint = "Say what to use instead of null: value != null ? value : 0."
        elif name == "%":
            hint = "The remainder exists for whole numbers only: int(value)."
        return f"'{name}' does not work on {types[0]} and {types[1]}.", hint
    if parts["target"] is not None:
        given = f" with {', '.join(types)}" if types else ""
        return f".{name}(…) does not work on {_TYPES.get(parts['target'], parts['target'])}{given}.", ""
    if name == "join":
        return "join works on a list of texts only.", "Make texts of its items: list.map(x, string(x)).join(', ')."
    given = f" on {', '.join(types)}" if types else " on what it was given"
    return f"{name} does not work{given}.", ""


def _hint(message: str) -> str:
    if "overflow" in message:
        return "Whole numbers go up to 9223372036854775807; double(value) goes further, less exactly."
    if "by zero" in message:
        return "Ask first: divisor != 0 ? … : 0."
    return ""


def explain_jq(kind: str, message: str, source: str) -> Permanent:
    """The error of a jq program."""
    if kind == "limit":
        return limit_error(message, source)
    if message == "no output":
        return Permanent(
            "EXPRESSION_FAILED", "The jq program gave nothing.", "Give a default: (…) // null, or a list: […]."
        )
    if message == "several outputs":
        return Permanent(
            "EXPRESSION_FAILED", "The jq program gave several values.", "Put it in brackets for a list: […]."
        )
    if "compile error" in message:
        problem = jq_problem(message, source)
        return Permanent("EXPRESSION_INVALID", problem.message, problem.hint)
    if message == "break":
        return Permanent(
            "EXPRESSION_FAILED", "jq: there is no further input.", "The data is '.'; use it instead of input."
        )
    return Permanent("EXPRESSION_FAILED", f"jq: {message.rstrip('.')}.")


def jq_problem(message: str, source: str) -> ExpressionError:
    """A jq compile error with its place in the program."""
    first = message.removeprefix("jq: error: ").partition("\n")[0].rstrip(":")
    found = re.search(r"(.*?) at <top-level>, line (\d+), column (\d+)", first)
    if found is None:
        return ExpressionError("JQ_SYNTAX", f"jq: {first}.")
    line, column = int(found[2]), int(found[3])
    before = sum(len(each) + 1 for each in source.split("\n")[: line - 1])
    return ExpressionError("JQ_SYNTAX", f"jq: {found[1]} (line {line}, column {column}).", offset=before + column - 1)
