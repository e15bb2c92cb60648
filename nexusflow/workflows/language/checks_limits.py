"""Rules about limits of runs: what they count apart, and limits that contradict each other or say nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.suggestions import hint_for
from nexusflow.workflows.evaluation.expressions import ExpressionError, parse
from nexusflow.workflows.language.checking import Checking
from nexusflow.workflows.language.checks_expressions import closed_inputs
from nexusflow.workflows.language.words import parse_duration


def check_limits(checking: Checking) -> Iterator[Problem]:
    """Limits that are there twice, cannot act, or make every run end before it begins."""
    document, words = checking.document, _words(checking)
    seen: dict[Any, str] = {}
    for pointer, limit in _concurrencies(words):
        key = limit.get("key")
        if isinstance(key, str | None) and key in seen:
            message = "This counts the same runs as another limit: only the lower one would ever count."
            yield document.problem(pointer, "INVALID_LIMIT", message, "Remove one of the two, or give it a key.")
        seen[key if isinstance(key, str | None) else pointer] = pointer
        if limit.get("when_full") == "reuse" and limit.get("limit") != 1:
            message = "'reuse' answers with the run that is there, and of several nobody could say which."
            hint = "Write limit: 1, or another when_full."
            yield document.problem(child(pointer, "when_full"), "INVALID_LIMIT", message, hint)
    if words.get("singleton") is True:
        if None in seen:
            message = "'singleton' is a limit of one run already, so this one never counts."
            yield document.problem("/singleton", "INVALID_LIMIT", message, "Remove one of the two.", key=True)
        if isinstance(words.get("debounce"), Mapping):
            message = "'debounce' has nothing to do: with singleton, a later start is answered with the run that waits."
            yield document.problem("/debounce", "INVALID_LIMIT", message, "Remove one of the two.", key=True)
    wait, patience = _seconds(words.get("debounce"), "wait"), _seconds(words, "queue_timeout")
    if wait is not None and patience is not None and wait >= patience:
        message = "Every run would be given up: it waits longer here than queue_timeout lets it."
        yield document.problem("/debounce/wait", "INVALID_LIMIT", message, "Raise queue_timeout, or wait less.")


def check_keys(checking: Checking) -> Iterator[Problem]:
    """Keys and priorities that are no plain references to the input: they are read before anything runs."""
    words = _words(checking)
    sites = [(child(pointer, "key"), limit.get("key"), "key") for pointer, limit in _concurrencies(words)]
    for word in ("rate", "debounce"):
        given = words.get(word)
        if isinstance(given, Mapping):
            sites.append((f"/{word}/key", given.get("key"), "key"))
    sites.append(("/priority", words.get("priority"), "priority"))
    for pointer, text, word in sites:
        if isinstance(text, str):
            yield from _check_text(checking, pointer, text, word)


def _check_text(checking: Checking, pointer: str, text: str, word: str) -> Iterator[Problem]:
    document, inputs = checking.document, closed_inputs(checking.document.data)
    try:
        template = parse(text)
    except ExpressionError as error:
        yield document.problem(pointer, error.code, error.message, error.hint, offset=error.offset)
        return
    if word == "priority" and not template.whole:
        hint = 'Write a number, or one expression: "${{ input.urgency }}".'
        message = f"'priority' is the text '{text[:40]}'; it must be a whole number from 0 to 9, or one expression."
        yield document.problem(pointer, "WRONG_VALUE", message, hint)
        return
    if not template.expressions:
        message = f"'key' is '{text[:40]}' for every run, so it tells none apart."
        yield document.problem(
            pointer, "WRONG_VALUE", message, 'Write it like "${{ input.customer }}", or leave it out.'
        )
    for each in template.expressions:
        if each.plain is None:
            message = f"'{word}' is computed here; before a run starts, its input can only be looked up."
            hint = "Name a field, as in ${{ input.customer }}; what is computed, the caller can put into the input."
            yield document.problem(pointer, "WRONG_VALUE", message, hint, offset=each.offset)
        elif each.plain[0] != "input" or len(each.plain) == 1:
            message = f"'{each.source}' cannot stand here: before a run starts, there are only the fields of its input."
            yield document.problem(pointer, "UNKNOWN_REFERENCE", message, "Write input.FIELD.", offset=each.offset)
        elif inputs is not None and each.plain[1] not in inputs:
            hint = hint_for(str(each.plain[1]), inputs, "Declared in input.schema")
            message = f"'{each.source}' names an input that input.schema does not allow."
            yield document.problem(pointer, "UNKNOWN_REFERENCE", message, hint, offset=each.offset)


def _words(checking: Checking) -> Mapping[str, Any]:
    data = checking.document.data
    return data if isinstance(data, Mapping) else {}


def _concurrencies(words: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    given = words.get("concurrency")
    if isinstance(given, Mapping):
        yield "/concurrency", given
    for index, limit in enumerate(given if isinstance(given, list) else ()):
        if isinstance(limit, Mapping):
            yield f"/concurrency/{index}", limit


def _seconds(holder: Any, word: str) -> float | None:
    given = holder.get(word) if isinstance(holder, Mapping) else None
    try:
        return parse_duration(given)
    except ValueError:
        return None
