"""Rules about what starts runs by itself: a trigger's type, its times, its zone, and the input it gives."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.schemas import check_schema, validate
from nexusflow.suggestions import closest
from nexusflow.workflows.language.checking import Checking
from nexusflow.workflows.language.definition import MAX_TRIGGERS, PLANNED_TRIGGER_TYPES
from nexusflow.workflows.language.timing import CronProblem, check_cron, zones
from nexusflow.workflows.language.words import parse_duration

MIN_INTERVAL_SECONDS = 1.0
_OLD_NAMES = {"@yearly": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *",
              "@midnight": "0 0 * * *", "@hourly": "0 * * * *"}  # fmt: skip


def check_triggers(checking: Checking) -> Iterator[Problem]:
    """Triggers that cannot be read, would never start anything, or are there twice."""
    document, seen = checking.document, []
    for pointer, trigger in _triggers(document.data):
        kind = trigger.get("type")
        if isinstance(kind, str) and kind != "schedule":
            code, message, hint = _unknown_type(kind)
            yield document.problem(child(pointer, "type"), code, message, hint)
        if kind != "schedule":
            continue
        yield from _check_times(checking, pointer, trigger)
        if trigger in seen:
            message = "This trigger is here twice: each of its ticks would start two runs."
            yield document.problem(pointer, "INVALID_TRIGGER", message, "Remove one of the two.")
        seen.append(trigger)


def check_trigger_inputs(checking: Checking) -> Iterator[Problem]:
    """Input of a trigger that holds expressions, or does not fit ``input.schema``."""
    document = checking.document
    schema = _input_schema(document.data)
    for pointer, trigger in _triggers(document.data):
        given = trigger.get("input", {})
        if trigger.get("type") != "schedule" or not isinstance(given, Mapping):
            continue
        base = child(pointer, "input")
        expressions = [base + below for below in _expressions(given)]
        for at in expressions:
            message = "This holds an expression, and before a run starts there is nothing it could refer to."
            yield document.problem(at, "WRONG_VALUE", message, "Write the value out, or compute it in a step.")
        for problem in () if schema is None else validate(schema, _with_defaults(schema, given)):
            if base + problem.pointer not in expressions:
                message = f"The runs of this trigger would be refused: {problem.message}"
                hint = problem.hint
                if problem.keyword == "required":
                    hint = "Write it in the trigger's input, or give it a default in input.schema."
                at = base + problem.pointer
                yield document.problem(at, "INVALID_INPUT", message, hint)


def _triggers(data: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = data.get("triggers") if isinstance(data, Mapping) else None
    for index, trigger in enumerate(listed[:MAX_TRIGGERS] if isinstance(listed, list) else ()):
        if isinstance(trigger, Mapping):
            yield f"/triggers/{index}", trigger


def _unknown_type(kind: str) -> tuple[str, str, str]:
    if kind in PLANNED_TRIGGER_TYPES:
        return "NOT_SUPPORTED_YET", f"Triggers of type '{kind}' are not supported yet.", "Do without it for now."
    meant = closest(kind, ["schedule", *PLANNED_TRIGGER_TYPES])
    hint = f"Did you mean '{meant}'?" if meant else "There is type: schedule."
    return "UNKNOWN_TYPE", f"There is no trigger of type '{kind[:80]}'.", hint


def _check_times(checking: Checking, pointer: str, trigger: Mapping[str, Any]) -> Iterator[Problem]:
    document = checking.document
    cron, interval = trigger.get("cron"), trigger.get("interval")
    if (cron is None) == (interval is None):
        found = "has neither cron nor interval" if cron is None else "has both cron and interval"
        hint = 'Write cron: "0 7 * * 1-5", say, or interval: 15m.' if cron is None else "Remove one of them."
        yield document.problem(pointer, "INVALID_TRIGGER", f"This schedule {found}.", hint)
    for word in ("cron", "timezone"):
        if isinstance(trigger.get(word), str) and "${{" in trigger[word]:
            message = f"'{word}' holds an expression, which it cannot: nothing runs yet."
            yield document.problem(child(pointer, word), "WRONG_VALUE", message, "Write it out.")
            return
    if isinstance(cron, str):
        yield from _check_cron(checking, child(pointer, "cron"), cron)
    if isinstance(interval, str) and _seconds(interval) < MIN_INTERVAL_SECONDS:
        message = f"'interval' is {interval}; the shortest one is 1s."
        hint = "For more than one run a second let one run do more, with a foreach."
        yield document.problem(child(pointer, "interval"), "INVALID_TRIGGER", message, hint)
    zone = trigger.get("timezone")
    if isinstance(zone, str) and zone not in zones():
        meant = closest(zone, zones())
        hint = f"Did you mean '{meant}'?" if meant else "It is a name like Europe/Berlin or UTC."
        message = f"There is no time zone '{zone[:80]}'."
        yield document.problem(child(pointer, "timezone"), "UNKNOWN_ZONE", message, hint)
    elif isinstance(zone, str) and cron is None and interval is not None:
        message = "An interval counts real time, the same in every zone: 'timezone' changes nothing here."
        hint = "Remove it, or write cron for a time of day."
        yield document.problem(child(pointer, "timezone"), "INVALID_TRIGGER", message, hint, key=True)


def _check_cron(checking: Checking, pointer: str, cron: str) -> Iterator[Problem]:
    usual = _OLD_NAMES.get(cron.strip().lower())
    try:
        if usual is None:
            check_cron(cron, datetime.now(UTC))
            return
        problem = CronProblem("names are not read", f'Write "{usual}".')
    except CronProblem as error:
        problem = error
    message = f"The cron expression '{cron[:80]}' cannot be used: {problem}."
    yield checking.document.problem(pointer, "INVALID_CRON", message, problem.hint, offset=problem.offset)


def _seconds(interval: str) -> float:
    try:
        return parse_duration(interval)
    except ValueError:
        return MIN_INTERVAL_SECONDS  # the models say what is wrong with it


def _expressions(value: Any, below: str = "") -> Iterator[str]:
    """The pointers of texts with an expression."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _expressions(inner, child(below, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _expressions(inner, child(below, index))
    elif isinstance(value, str) and "${{" in value:
        yield below


def _input_schema(data: Any) -> Mapping[str, Any] | None:
    """The schema of a run's input where there is a usable one."""
    given = data.get("input") if isinstance(data, Mapping) else None
    schema = given.get("schema") if isinstance(given, Mapping) else None
    return schema if isinstance(schema, Mapping) and not check_schema(schema) else None


def _with_defaults(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The input with the schema's defaults of the top level, as a run gets it."""
    words = schema.get("properties", {})
    known = words if isinstance(words, Mapping) else {}
    defaults = {
        name: spec["default"] for name, spec in known.items() if isinstance(spec, Mapping) and "default" in spec
    }
    return defaults | dict(given)
