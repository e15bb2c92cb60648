"""What a loop, a try and a wait are called in pictures and lists: in few words, as they were written."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.language.limits import USUAL_PRIORITY, Concurrency
from nexusflow.workflows.planning.graph import BODY, FINALLY

LETTERS = 60
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"))
_ONE_EXPRESSION = re.compile(r"\$\{\{((?:(?!\$\{\{|\}\}).)*)\}\}", re.S)


def shortened(text: str, letters: int = LETTERS) -> str:
    """A text on one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def formula(value: Any, letters: int = LETTERS) -> str:
    """A condition or a value as it was written; one expression without its ``${{ }}``."""
    if not isinstance(value, str):
        return shortened(str(value).lower(), letters)
    found = _ONE_EXPRESSION.fullmatch(value.strip())
    return shortened(found[1] if found else value, letters)


def written_duration(seconds: float) -> str:
    """Seconds as the language writes them: ``50ms``, ``1h30m``."""
    parts = []
    for size, unit in _UNITS:
        whole, seconds = divmod(seconds, size)
        parts += [f"{whole:.0f}{unit}"] if whole else []
    if 0 < seconds < 1:
        parts.append(f"{seconds * 1000:.0f}ms")
    elif seconds:
        parts.append(f"{seconds:g}s")
    return "".join(parts)


def wait_length(given: Mapping[str, Any], letters: int = LETTERS) -> str:
    """How long a wait is, by its ``with``: ``5m``, ``until 2030-01-01T09:00:00Z``, ``for paid, at most 2d``."""
    if given.get("event") is not None:
        key = f" {formula(given['key'], letters)}" if given["key"] is not None else ""
        most = f", at most {formula(given['timeout'], letters)}" if given["timeout"] is not None else ""
        return f"for {given['event']}{key}{most}"
    if given.get("duration") is not None:
        return formula(given["duration"], letters)
    return f"until {formula(given.get('until'), letters)}"


def called(given: Mapping[str, Any]) -> str:
    """The workflow that a step calls, by its ``with``: ``invoice``, ``invoice version 3``."""
    return f"{given['workflow']} version {given['version']}" if given.get("version") else str(given["workflow"])


def event_name(event: str, keys: Sequence[str], total: int) -> str:
    """An event that is waited for, with the first of its keys: ``paid``, ``paid o-1``, ``paid o-1, o-2 and 7 more``."""
    more = f" and {total - len(keys):,} more" if total > len(keys) else ""
    return f"{event} {', '.join(shortened(key) for key in keys)}{more}".replace("  ", " ").rstrip()


def part_of(path: str) -> str:
    """Which part of a try a scope is, by its path: ``try``, ``catch0``, …, ``finally``."""
    return path.rpartition("/")[2]


def catch_number(part: str) -> int | None:
    """The place of a catch among its try's, from 0; None for the other parts."""
    return int(part.removeprefix("catch")) if part not in (BODY, FINALLY) else None


def part_name(part: str) -> str:
    """A part of a try for people: ``try``, ``catch 1``, ``finally``."""
    number = catch_number(part)
    return part if number is None else f"catch {number + 1}"


def caught(spec: Mapping[str, Any], part: str) -> str:
    """The errors that a catch is for."""
    number = catch_number(part)
    return ", ".join(spec["catch"][number]["errors"]) or "any error" if number is not None else ""


def part_title(spec: Mapping[str, Any], part: str) -> str:
    """``try``, ``catch 1: HTTP_*, timeout``, ``finally``; ``spec``: the try's own words."""
    errors = caught(spec, part)
    return f"{part_name(part)}: {errors}" if errors else part_name(part)


def items(given: Mapping[str, Any]) -> str:
    """What a foreach takes at once, by its ``with``."""
    return f"batch of {given['batch']:,}" if given.get("batch") else "item"


def repeated(given: Mapping[str, Any]) -> str:
    """How often an until repeats and how far apart, by its ``with``."""
    apart = f", {written_duration(given['delay'])} apart" if given.get("delay") else ""
    return f"at most {given['max_iterations']:,} times{apart}"


def iterations(done: int, most: int | None, *, goes_on: bool) -> str:
    """How far an until is."""
    if goes_on and most is not None:
        return f"iteration {min(done + 1, most):,} of at most {most:,}"
    return f"{done:,} {'iteration' if done == 1 else 'iterations'}"


def branch_name(path: str) -> str:
    """A branch of a switch for people, by its scope's path: ``case 1``, ``default``."""
    name = path.rpartition("/")[2]
    return name if name == "default" else f"case {int(name) + 1}"


_WHEN_FULL = {
    "queue": "others wait",
    "refuse": "others are refused",
    "replace": "the oldest makes way",
    "reuse": "a start gets the one that is there",
}


def limits(definition: Definition) -> list[str]:
    """What bounds the runs of a workflow, one line a limit."""
    given = definition.concurrency or ()
    concurrencies = [given] if isinstance(given, Concurrency) else list(given)
    if definition.singleton:
        concurrencies.append(Concurrency(limit=1, when_full="reuse"))
    lines = [
        f"at most {_runs(each.limit)} at once{_of(each.key)}, {_WHEN_FULL[each.when_full]}" for each in concurrencies
    ]
    if (rate := definition.rate) is not None:
        lines.append(f"at most {_runs(rate.limit)} in {written_duration(rate.per)}{_of(rate.key)}")
    if (debounce := definition.debounce) is not None:
        lines.append(f"the last run within {written_duration(debounce.wait)}{_of(debounce.key)}")
    if definition.priority != USUAL_PRIORITY:
        lines.append(f"priority {formula(definition.priority)}")
    return lines


def _of(key: str | None) -> str:
    return f" of each {formula(key)}" if key is not None else ""


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number:,} runs"
