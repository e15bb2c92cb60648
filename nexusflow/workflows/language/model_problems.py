"""What the models refuse, said to the author: pydantic's errors as Problems with a place, a sentence and a hint."""

from collections.abc import Callable, Container, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.suggestions import closest, hint_for, one_of
from nexusflow.suggestions import shown_value as _shown
from nexusflow.workflows.language import definition as language
from nexusflow.workflows.language import limits, words
from nexusflow.workflows.language.document import Document

_FORMS: dict[str, type[BaseModel]] = {
    "action": language.ActionStep,
    "foreach": language.ForeachStep,
    "switch": language.SwitchStep,
    "until": language.UntilStep,
    "try": language.TryStep,
    "wait": language.WaitStep,
    "workflow": language.CallStep,
}
_HOLDERS: dict[str, type[BaseModel]] = {
    "retry": words.Retry,
    "mock": words.Mock,
    "error": words.MockError,
    "join": words.Quorum,
    "default": language.Default,
    "finally": language.Finally,
    "compensate": words.Compensation,
    "input": language.InputSpec,
    "concurrency": limits.Concurrency,
    "rate": limits.Rate,
    "debounce": limits.Debounce,
}
_WITHS: dict[str, type[BaseModel]] = {
    "foreach": language.ForeachWith,
    "until": language.UntilWith,
    "wait": language.WaitWith,
    "workflow": language.CallWith,
}
_LISTED: dict[str, type[BaseModel]] = {
    "triggers": language.ScheduleTrigger,
    "cases": language.Case,
    "catch": language.Catch,
    "retry": words.Retry,
    "concurrency": limits.Concurrency,
}
_LISTED_NAMES = {"triggers": "trigger", "cases": "case", "catch": "catch", "retry": "rule", "concurrency": "limit"}
_SCOPE_WORDS = frozenset({"steps", "cases", "default", "output", "catch", "finally", "until"})
_ACTION_WORDS = frozenset({"retry", "timeout", "connection", "cache", "idempotency"})
_OTHER_NAMES = {
    "depends_on": "needs", "dependson": "needs", "depends": "needs", "after": "needs", "requires": "needs",
    "if": "when", "condition": "when", "inputs": "with", "params": "with", "parameters": "with", "args": "with",
    "uses": "type", "action": "type", "retries": "retry", "version": "nexusflow", "tasks": "steps", "jobs": "steps",
    "except": "catch", "rescue": "catch", "ensure": "finally", "always": "finally", "max_rounds": "max_iterations",
    "times": "max_iterations", "max": "max_iterations", "limit": "max_iterations", "interval": "delay",
    "seconds": "duration", "batch_size": "batch", "chunk": "batch", "sleep": "duration", "for": "duration",
    "at": "until", "codes": "errors", "outputs": "output", "else": "default", "credentials": "connection",
    "title": "name", "on": "triggers", "overflow": "when_full", "strategy": "when_full", "group": "key", "by": "key",
    "window": "per", "period": "per", "every": "per", "max_concurrency": "concurrency", "parallel": "concurrency",
    "rate_limit": "rate", "throttle": "rate", "unique": "singleton",
    "signal": "event", "correlation_key": "key",
}  # fmt: skip
_WANTED: dict[str, tuple[str, str]] = {
    "name": ("letters a-z, digits and - (at most 100)", ""),
    "id": ("a letter a-z, then letters a-z, digits and _ (at most 64)", ""),
    "as": ("a letter a-z, then letters a-z, digits and _ (at most 64)", ""),
    "connection": ("a letter a-z, then letters a-z, digits and _ (at most 64)", "It names an account of yours."),
    "join": ("all_success, all_done, any_success or {n: 2}", ""),
    "when": ("an expression, true or false", 'Write it like "${{ steps.count.output > 10 }}".'),
    "items": ("an expression that gives a list, or a list", 'Write it like "${{ input.orders }}".'),
    "needs": ("a list of step ids", "Write it like [fetch], also for one."),
    "steps": ("a list of steps, at least one", ""),
    "cases": ("a list of branches, at least one", "A branch has when and steps."),
    "with": ("a mapping", "Write the action's fields below it."),
    "schema": ("a JSON Schema", "Write it like {type: object, properties: …}."),
    "input": ("a mapping with schema", "Write it like input: {schema: {type: object, properties: …}}."),
    "retry": ("a mapping with max, backoff, initial and limit, or a list of those", "Write it like {max: 3}."),
    "until": ("an expression, true or false", 'Write it like "${{ steps.poll.output.ready }}".'),
    "catch": ("a list of mappings, each with steps", "Write it like [{errors: [timeout], steps: […]}]."),
    "compensate": ("a mapping with type and with", "Write it like {type: http.request, with: {…}}."),
    "finally": ("a mapping with steps", "Write it like {steps: […]}."),
    "errors": (
        "an error's code such as RATE_LIMITED or HTTP_*, or one of any, timeout, transient, user, provider, platform",
        "docs/errors.md lists the codes.",
    ),
    "mock": ("a mapping with output or error", "Write it like {output: {id: 7}} or {error: {code: TIMEOUT}}."),
    "error": ("a mapping with code, message and cause", "Write it like {code: RATE_LIMITED, cause: provider}."),
    "code": ("an error's code: letters A-Z, digits and _", ""),
    "workflow": ("a workflow's name: letters a-z, digits and -", ""),
    "version": ("a version's number", "Leave it out for the one that is published."),
    "idempotency": ("a text with an expression", 'Write it like "order-${{ input.order }}".'),
    "duration": ("a duration, or an expression that gives one", "Write it like 15m."),
    "event": ("a letter, then letters, digits, dots, dashes and _ (at most 100)", "Write it like payment.received."),
    "default": ("a mapping with steps", ""),
    "triggers": (
        "a list of triggers",
        'Write it like [{type: schedule, cron: "0 7 * * 1-5", timezone: Europe/Berlin}].',
    ),
    "cron": ("text of five fields", 'Write it like "0 7 * * 1-5", with the quotes.'),
    "interval": ("a duration", "Write it like 15m."),
    "concurrency": ("a mapping with limit, key and when_full, or a list of those", "Write it like {limit: 5}."),
    "rate": ("a mapping with limit and per", "Write it like {limit: 100, per: 1m}."),
    "debounce": ("a mapping with wait", "Write it like {wait: 5s}."),
    "key": ("text with an expression", 'Write it like "${{ input.customer }}".'),
    "priority": ("a whole number from 0 to 9, or an expression that gives one", ""),
    "per": ("a duration", "Write it like 1m."),
    "wait": ("a duration", "Write it like 5s."),
}
_KINDS = {
    "string_type": "text", "int_type": "a whole number", "bool_type": "true or false", "tuple_type": "a list",
    "list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip
_MISSING = {
    "id": "Give it an id, such as id: fetch.",
    "type": "Name an action, such as type: http.request, or foreach or switch.",
    "name": "Give it a name, such as name: order-intake.",
    "steps": "Add a list of at least one step.",
    "items": 'Name the list to run over, such as items: "${{ input.orders }}".',
    "with": 'A foreach runs over a list: with: {items: "${{ input.orders }}"}.',
    "when": "Give the branch a condition; what runs when no case is true goes into default.",
    "cases": "Add at least one case, with when and steps.",
    "workflow": "Name the workflow to run: with: {workflow: invoice}.",
    "until": 'Say when it ends, such as until: "${{ steps.poll.output.ready }}".',
    "limit": "Say how many, such as limit: 5.",
    "per": "Say in which time, such as per: 1m.",
    "wait": "Say how long, such as wait: 5s.",
}
_VERSION_HINT = 'Write nexusflow: "1" (with the quotes).'


def model_problems(error: ValidationError, document: Document, known_types: Container[str]) -> list[Problem]:
    """The errors of reading ``document.data`` as a Definition, at most one a place.

    ``known_types``: the actions; the words of a scope are no surprise in a step whose type is not known.
    """
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False, include_context=True):
        path = _path(details["loc"])
        pointer = "".join(child("", part) for part in path)
        problem = _translate(details, path, pointer, document, known_types)
        if problem is not None:
            found.setdefault(pointer, problem)
    return list(found.values())


def _path(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A location in the author's words: pydantic adds the name of the union's branch after a step and some words."""
    path: list[str | int] = []
    skip = False
    for part in loc:
        if skip:
            skip = False
            continue
        path.append(part)
        is_step = isinstance(part, int) and len(path) > 1 and path[-2] == "steps"
        skip = is_step or part in ("join", "when", "items", "retry", "until", "concurrency", "priority")
    return tuple(path)


def _translate(
    details: ErrorDetails, path: tuple[str | int, ...], pointer: str, document: Document, known_types: Container[str]
) -> Problem | None:
    word = path[-1] if path else ""
    holder = _holder(document.data, path)
    where = _where(document.data, path[:-1])
    if path[:1] == ("triggers",) and len(path) == 2:
        message = f"A trigger is {_shown(details['input'])}; it must be a mapping."
        return document.problem(pointer, "WRONG_TYPE", message, _WANTED["triggers"][1])
    if path[:1] == ("concurrency",) and len(path) == 2 and isinstance(word, int):
        message = f"A limit is {_shown(details['input'])}; it must be a mapping."
        return document.problem(pointer, "WRONG_TYPE", message, _WANTED["concurrency"][1])
    if path[:1] == ("triggers",) and len(path) > 2:
        if isinstance(holder, Mapping) and _text(holder, "type") not in ("", "schedule"):
            return None  # The type is the problem; the checks name it.
        if word == "type" and details["type"] == "missing":
            return document.problem(pointer, "MISSING", f"'type' is missing {where}.", "Write type: schedule.")
        if word == "input":
            message = f"'input' is {_shown(details['input'])}; it must be a mapping."
            return document.problem(pointer, "WRONG_TYPE", message, "Write the input of its runs below it.")
    if word == "nexusflow" and len(path) == 1:
        return _version(details, document)
    if details["type"] == "extra_forbidden":
        return _unknown_word(str(word), path, pointer, holder, where, document, known_types)
    if details["type"] == "too_short" and details["input"]:
        return None  # It counts only what could be read; what is wrong with each item is said there.
    if details["type"] == "missing":
        if word == "steps" and isinstance(holder, Mapping) and holder.get("type") in language.PLANNED_STEP_TYPES:
            return None
        hint = _MISSING.get(str(word), "")
        if word == "with" and _text(holder, "type") == "wait":
            hint = "Say how long, until when or for which event: with: {duration: 2h}, {until: …} or {event: …}."
        if word == "with" and _text(holder, "type") == "workflow":
            hint = _MISSING["workflow"]
        return document.problem(pointer, "MISSING", f"'{word}' is missing {where}.", hint)
    if word != "" and path[-2:-1] == ("errors",):
        word = "errors"
    if path[-2:] == ("with", "input"):
        message = f"'input' is {_shown(details['input'])}; it must be a mapping."
        return document.problem(pointer, "WRONG_TYPE", message, "Write the input of its run below it.")
    code, message, hint = _wrong(details, word)
    return document.problem(pointer, code, f"{message[0].upper()}{message[1:]}", hint)


def _version(details: ErrorDetails, document: Document) -> Problem:
    if details["type"] == "missing":
        message = "'nexusflow' is missing: the version of the language that this definition is written in."
        return document.problem("/nexusflow", "VERSION_MISSING", message, _VERSION_HINT)
    message = f"'nexusflow' is {_shown(details['input'])}; this NexusFlow reads version \"1\" of the language."
    return document.problem("/nexusflow", "VERSION_UNKNOWN", message, _VERSION_HINT)


def _unknown_word(
    word: str,
    path: tuple[str | int, ...],
    pointer: str,
    holder: Any,
    where: str,
    document: Document,
    known_types: Container[str],
) -> Problem | None:
    model = _model(document.data, path[:-1])
    is_step = model in _FORMS.values()
    if is_step and word in _SCOPE_WORDS and _text(holder, "type") not in known_types and model is language.ActionStep:
        return None  # The unknown type is the problem; the checks name it.
    is_planned = word in language.PLANNED_WORDS and (is_step or model is language.Definition)
    if is_planned or (word in language.PLANNED_TRIGGER_WORDS and model is language.ScheduleTrigger):
        return document.problem(
            pointer, "NOT_SUPPORTED_YET", f"'{word}' ({where}) is not supported yet.", "Remove it for now.", key=True
        )
    known = [field.alias or name for name, field in model.model_fields.items()]
    if is_step and word in _ACTION_WORDS:
        hint = f"A {_text(holder, 'type')} has none of its own: put it at the steps inside."
        if _text(holder, "type") == "wait":
            hint = "A wait is no attempt at anything: it takes as long as it says."
            if word == "timeout":
                hint = "A wait takes as long as it says; for an event write with: {event: …, timeout: 2d}."
        if _text(holder, "type") == "workflow":
            hint = "The workflow that is called has its own: put it there."
    elif _OTHER_NAMES.get(word.lower()) in known:
        hint = f"Did you mean '{_OTHER_NAMES[word.lower()]}'?"
    elif word == "on":
        hint = "What starts runs is the workflow's own: triggers: [{type: schedule, …}]."
    else:
        hint = hint_for(word, known)
    return document.problem(pointer, "UNKNOWN_WORD", f"There is no word '{word[:80]}' {where}.", hint, key=True)


def _wrong(details: ErrorDetails, word: str | int) -> tuple[str, str, str]:
    """Code, message and hint of a value that is there but cannot be used."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    subject = f"'{word}'" if isinstance(word, str) and word else "a step" if isinstance(word, int) else "the definition"
    is_shown = f"{subject} is {_shown(value)}"
    wanted, hint = _WANTED.get(str(word), ("", ""))
    if (word, kind) == ("wait", "bool_type"):
        wanted, hint = _KINDS[kind], ""  # a call's, not a debounce's
    if isinstance(value, str) and "${{" in value:
        told = {"workflow": _CALLED_HINT, "event": _EVENT_HINT}.get(str(word), _EXPRESSIONS_HINT)
        return "WRONG_VALUE", f"{subject} holds an expression, which it cannot.", told
    if kind == "literal_error" and not wanted:
        options = [each.strip("' ") for each in str(context.get("expected", "")).replace(" or ", ",").split(",")]
        meant = closest(value, options) if isinstance(value, str) else None
        return "WRONG_VALUE", f"{is_shown}; it must be {one_of(options)}.", f"Did you mean '{meant}'?" if meant else ""
    if kind == "value_error":
        if isinstance(value, int | float) and not isinstance(value, bool):
            hint = f"Write {value}s for seconds."
        return "WRONG_VALUE", f"{is_shown}; {context['error']}.", hint
    if kind == "string_pattern_mismatch":
        return (
            "WRONG_VALUE",
            f"{is_shown}; it must be {wanted}.",
            hint or (_renamed(value, "-" if word in ("name", "workflow") else "_", upper=word == "code")),
        )
    if kind in ("literal_error", "too_short"):
        return "WRONG_VALUE", f"{is_shown}; it must be {wanted}.", hint
    if kind in _KINDS:
        return "WRONG_TYPE", f"{is_shown}; it must be {wanted or _KINDS[kind]}.", hint
    if kind == "too_long":
        found, most = context["actual_length"], context["max_length"]
        return "TOO_BIG", f"{subject} has {found} entries; {most} are allowed.", "Split the workflow."
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return "WRONG_VALUE", f"{is_shown}; it must be {bound}.", ""
    if kind == "string_too_long":
        return "WRONG_VALUE", f"{subject} is too long; at most {context['max_length']} characters are allowed.", ""
    return "WRONG_VALUE", f"{is_shown}: {details['msg']}.", hint


_CALLED_HINT = "Which workflow is called stands fast; a switch chooses between several."
_EVENT_HINT = "Its name is fixed: what differs from run to run is the key."
_EXPRESSIONS_HINT = "Expressions can stand in with, when, until, items, a case's when, and output."


def _renamed(value: Any, filler: str, *, upper: bool) -> str:
    """A hint with a name like the author's that is allowed."""
    if not isinstance(value, str):
        return ""
    kept = "".join(each if each.isascii() and each.isalnum() else filler for each in value.lower())
    kept = kept.strip(filler + ("0123456789" if filler == "_" else ""))
    return f"Write {kept[:64].upper() if upper else kept[:64]}." if kept else ""


def _text(holder: Any, word: str) -> str:
    value = holder.get(word) if isinstance(holder, Mapping) else None
    return value if isinstance(value, str) else ""


def _holder(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path[:-1]:
        data = data[part]
    return data


def _model(data: Any, path: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of the mapping at a path."""
    if not path:
        return language.Definition
    if isinstance(path[-1], int):
        listed = _LISTED.get(str(path[-2]))
        return listed or _FORMS[language.step_form(_holder(data, (*path, "")))]
    if path[-1] == "with":
        return _WITHS[_text(_holder(data, path), "type")]
    return _HOLDERS[path[-1]]


def _where(data: Any, path: tuple[str | int, ...]) -> str:
    """``in the workflow``, ``in step 'fetch'``, ``in 'retry' of step 'fetch'``."""
    inner: Callable[[str], str] = "in {}".format
    for depth in range(len(path), 0, -1):
        if isinstance(path[depth - 1], int) and path[depth - 2] == "steps":
            step = _holder(data, (*path[:depth], ""))
            name = f"step '{_text(step, 'id')}'" if _text(step, "id") else f"step {int(path[depth - 1]) + 1}"
            return inner(name)
        kind = _LISTED_NAMES.get(str(path[depth - 2]), "") if depth > 1 else ""
        part = f"{kind} {int(path[depth - 1]) + 1}" if isinstance(path[depth - 1], int) else f"'{path[depth - 1]}'"
        if depth == len(path) and path[depth - 1] not in _LISTED_NAMES:
            inner = f"in {part} of {{}}".format
    return inner("the workflow")
