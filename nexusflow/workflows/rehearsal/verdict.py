"""What came of a case, held against what it expects: every difference, with its place."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nexusflow.workflows.engine.outcomes import Key
from nexusflow.workflows.rehearsal.cases import Case
from nexusflow.workflows.rehearsal.journal import Call, Rehearsed
from nexusflow.workflows.rehearsal.places import level_of, parse_place, show_place

MOST_SHOWN = 10
"""Differences inside of one value that are told."""
SHORT = 60
"""Longer values do not stand in a sentence."""
_NOTHING = object()


@dataclass(frozen=True)
class Difference:
    """``at``: what differs: ``status``, ``output.total``, ``steps.each/put[1]``. ``found`` is what came instead.

    ``message`` says it in a sentence, ``hint`` what to do about it.
    """

    at: str
    expected: Any
    found: Any
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Verdict:
    """A case: what came of it, and how that differs from what it expects."""

    case: Case
    rehearsed: Rehearsed
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.differences


def judge(case: Case, rehearsed: Rehearsed) -> Verdict:
    """Compare. What stopped a case is told first."""
    return Verdict(case, rehearsed, tuple(_differences(case, rehearsed)))


def _differences(case: Case, rehearsed: Rehearsed) -> Iterator[Difference]:
    expect = case.expect
    if (stopped := rehearsed.unanswered) is not None:
        yield Difference(f"mocks.{show_place(stopped.path, stopped.item)}", None, None, stopped.message, stopped.hint)
        return
    if expect.status is not None and expect.status != rehearsed.status:
        error = rehearsed.error or {}
        why = f" {error.get('message', '')} [{error.get('code')}]" if error else ""
        place = f" at {show_place(error['step'], error.get('item') or '')}" if error.get("step") else ""
        message = f"The run is {rehearsed.status}{place}, not {expect.status}.{why}"
        yield Difference("status", expect.status, rehearsed.status, message, str(error.get("hint", "")))
    if "output" in expect.model_fields_set:
        yield from _compared("output", expect.output, rehearsed.output)
    if expect.error is not None:
        wanted = expect.error.model_dump(exclude_unset=True)
        yield from _compared("error", wanted, {key: (rehearsed.error or {}).get(key) for key in wanted})
    for name, state in expect.steps.items():
        yield from _states(name, state, rehearsed)
    for name, attempts in expect.attempts.items():
        yield from _attempts(name, attempts, rehearsed)
    for name, calls in expect.calls.items():
        yield from _calls(name, calls, rehearsed)
    for chain in _chains(expect.order):
        yield from _order(chain, rehearsed)


def _compared(at: str, expected: Any, found: Any) -> Iterator[Difference]:
    several = list(_leaves(at, expected, found))
    for path, wanted, came in several[:MOST_SHOWN]:
        message = f"{path} is {_written(came)}, not {_written(wanted)}."
        if max(len(_written(came)), len(_written(wanted))) > SHORT:
            message = f"{path} differs."
        yield Difference(path, _plain(wanted), _plain(came), message)
    if len(several) > MOST_SHOWN:
        yield Difference(at, None, None, f"{at} differs in {len(several) - MOST_SHOWN} more places.")


def _leaves(at: str, expected: Any, found: Any) -> Iterator[tuple[str, Any, Any]]:
    """The smallest parts that differ."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in [*expected, *(key for key in found if key not in expected)]:
            yield from _leaves(f"{at}.{key}", expected.get(key, _NOTHING), found.get(key, _NOTHING))
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple) and len(expected) == len(found):
        for index, (wanted, came) in enumerate(zip(expected, found, strict=True)):
            yield from _leaves(f"{at}[{index}]", wanted, came)
    elif not _same(expected, found):
        yield at, expected, found


def _same(expected: Any, found: Any) -> bool:
    """Equal as JSON: true is not 1, and 1.0 is 1."""
    return bool(expected == found) and isinstance(expected, bool) == isinstance(found, bool)


def _plain(value: Any) -> Any:
    return None if value is _NOTHING else value


def _written(value: Any) -> str:
    return "missing" if value is _NOTHING else json.dumps(value, ensure_ascii=False)


def _keys(name: str, rehearsed: Rehearsed) -> list[Key]:
    """The records that a place means: one item's, or without an item all of the step's own, in the items' order."""
    path, item = parse_place(name) or (name, "")
    if item:
        return [(path, item)] if (path, item) in rehearsed.records else []
    keys = [key for key in rehearsed.records if key[0] == path]
    level = min((level_of(key[1]) for key in keys), default=0)
    own = [key for key in keys if level_of(key[1]) == level]
    return sorted(own, key=lambda key: [int(part) for part in key[1].split(".") if part])


def _states(name: str, state: str | None, rehearsed: Rehearsed) -> Iterator[Difference]:
    keys = _keys(name, rehearsed)
    if state is None:
        if keys:
            found = rehearsed.records[keys[0]].state
            yield Difference(f"steps.{name}", None, found, f"{name} was not to run; it {_is(found)}.")
        return
    if not keys:
        yield Difference(f"steps.{name}", state, None, f"{name} did not run; {state} was expected.")
    for key in keys:
        record = rehearsed.records[key]
        if record.state != state:
            why = f" {record.error.get('message', '')} [{record.error.get('code')}]" if record.error else ""
            message = f"{show_place(*key)} {_is(record.state)}, not {state}.{why}"
            yield Difference(f"steps.{show_place(*key)}", state, record.state, message)
            return  # the first of many items says enough


def _is(state: str) -> str:
    return (
        f"is {state}" if state in ("skipped", "blocked", "cancelled", "running", "waiting") else state.replace("_", " ")
    )


def _attempts(name: str, attempts: int, rehearsed: Rehearsed) -> Iterator[Difference]:
    keys = _keys(name, rehearsed)
    for key in keys or [parse_place(name) or (name, "")]:
        found = rehearsed.records[key].attempts if key in rehearsed.records else 0
        if found != attempts:
            message = f"Attempts of {show_place(*key)}: {attempts:,} expected, {found:,} made."
            yield Difference(f"attempts.{show_place(*key)}", attempts, found, message)
            return


def _calls(name: str, expected: int | tuple[dict[str, Any], ...], rehearsed: Rehearsed) -> Iterator[Difference]:
    path, item = parse_place(name) or (name, "")
    calls = [call for call in rehearsed.calls if call.path == path and (not item or call.item == item)]
    count = expected if isinstance(expected, int) else len(expected)
    if len(calls) != count:
        message = f"Calls of {name}: {count:,} expected, {len(calls):,} made."
        yield Difference(f"calls.{name}", count, len(calls), message)
        return
    if isinstance(expected, int):
        return
    for number, (wanted, call) in enumerate(zip(expected, calls, strict=True)):
        yield from _compared(f"calls.{name}[{number}]", wanted, _as_far(wanted, call))


def _as_far(wanted: Mapping[str, Any], call: Call) -> Any:
    """The part of a call's input that is written in the expectation."""

    def part(expected: Any, found: Any) -> Any:
        if isinstance(expected, Mapping) and isinstance(found, Mapping):
            return {key: part(expected[key], each) for key, each in found.items() if key in expected}
        return found

    return part(wanted, call.input)


def _chains(order: tuple[str | tuple[str, ...], ...]) -> Iterator[tuple[str, ...]]:
    single = tuple(each for each in order if isinstance(each, str))
    if single:
        yield single
    yield from (each for each in order if not isinstance(each, str))


def _order(chain: tuple[str, ...], rehearsed: Rehearsed) -> Iterator[Difference]:
    """Each of the chain is over, with all its items, before anything of the next begins."""
    for name in chain:
        if not _keys(name, rehearsed):
            yield Difference("order", list(chain), None, f"{name} did not run, so it has no place in the order.")
            return
    for before, after in pairwise(chain):
        ends = [rehearsed.over.get(key) for key in _keys(before, rehearsed)]
        begins = [rehearsed.begun.get(key, rehearsed.over.get(key, 0)) for key in _keys(after, rehearsed)]
        if any(end is None for end in ends) or max(end or 0 for end in ends) > min(begins):
            message = f"{after} began before {before} was over."
            yield Difference("order", list(chain), None, message, f"Does it need {before}?")
            return
