"""Rules about until, try, wait and workflow: what cannot end, catches that catch nothing, waits for nothing."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.workflows.language.checking import Checking, written
from nexusflow.workflows.language.outline import ScopeView, StepView, every_call, every_step
from nexusflow.workflows.language.words import MAX_KEY

_WAITS = {"duration": "how long", "until": "until when", "event": "for which event"}


def check_loops(checking: Checking) -> Iterator[Problem]:
    """An until whose condition is written out: it runs once, or never ends."""
    for step in every_step(checking.outline):
        if step.type != "until":
            continue
        pointer, always = child(step.pointer, "until"), written(step.words.get("until"))
        if always is True:
            message = f"{step.title} ends after its first iteration: its condition is always true."
            yield checking.document.problem(
                pointer, "UNREACHABLE", message, "Put the steps here without it, or give it a condition."
            )
        elif always is False:
            message = f"{step.title} can never end well: its condition is always false."
            hint = 'Say when it is done, such as until: "${{ steps.poll.output.ready }}".'
            yield checking.document.problem(pointer, "ENDLESS_LOOP", message, hint)


def check_tries(checking: Checking) -> Iterator[Problem]:
    """A try that changes nothing, and catches that no error reaches."""
    for step in every_step(checking.outline):
        if step.type != "try":
            continue
        catches = step.words.get("catch")
        undoes = any("compensate" in each.words for each in every_step(step.scopes[0])) if step.scopes else False
        if not catches and not undoes and not {"catch", "finally"} & set(step.words):
            message = f"{step.title} neither catches an error nor undoes anything nor has something to do at the end."
            hint = (
                "Add catch: [{steps: […]}], finally: {steps: […]} or compensations, or put its steps here without it."
            )
            yield checking.document.problem(step.pointer, "NOTHING_CAUGHT", message, hint)
        yield from _check_catches(checking, step, catches if isinstance(catches, list) else [])


def _check_catches(checking: Checking, step: StepView, catches: list[Any]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, catch in enumerate(catches, 1):
        if not isinstance(catch, Mapping):
            continue
        pointer = f"{step.pointer}/catch/{number - 1}"
        listed = catch.get("errors")
        classes = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else ["any"]
        before = seen.get("any")
        if before is not None:
            message = f"No error reaches this catch: catch {before} is for all."
            hint = f"Move it before catch {before}, or say under errors what that one is for."
            yield checking.document.problem(pointer, "UNREACHABLE", message, hint)
            return
        if listed == []:
            message = "This catch is for no error: its list is empty."
            hint = "Name codes or classes, or leave errors out for all of them."
            yield checking.document.problem(child(pointer, "errors"), "UNREACHABLE", message, hint)
        for index, each in enumerate(classes):
            at = f"{pointer}/errors/{index}"
            if each == "transient":
                message = "A step's error is no longer transient when it is caught: it was tried again before."
                hint = "Name its code, or provider, or timeout; retry is what transient errors are for."
                yield checking.document.problem(at, "WRONG_VALUE", message, hint)
            elif each in seen and each != "any":
                message = f"'{each}' is caught by catch {seen[each]} already."
                yield checking.document.problem(at, "UNREACHABLE", message, "Remove it from one of the two.")
            seen.setdefault(each, number)


def check_compensations(checking: Checking) -> Iterator[Problem]:
    """A compensation that nothing would ever run, because no try is around its step."""
    for step in every_step(checking.outline):
        if isinstance(step.words.get("compensate"), Mapping) and not _is_tried(step):
            pointer = child(step.pointer, "compensate")
            message = f"{step.title} is in no try, so nothing would ever run its compensation."
            hint = "Put the steps that belong together into a try: if they fail, those that succeeded are undone."
            yield checking.document.problem(pointer, "COMPENSATION_OUTSIDE_TRY", message, hint, key=True)


def _is_tried(step: StepView) -> bool:
    scope: ScopeView | None = step.scope
    while scope is not None and scope.owner is not None:
        if scope.owner.type == "try" and scope.holder == scope.owner.pointer:
            return True
        scope = scope.owner.scope
    return False


def check_retries(checking: Checking) -> Iterator[Problem]:
    """Rules of a retry that no error reaches."""
    for step in every_call(checking.outline):
        rules = step.words.get("retry")
        if not isinstance(rules, list):
            continue
        taken: dict[str, int] = {}
        for number, rule in enumerate(rules, 1):
            if not isinstance(rule, Mapping):
                continue
            listed = rule.get("errors") or ["transient"]
            classes = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
            before = taken.get("any") or next((taken[each] for each in classes if each in taken), None)
            if before is not None:
                pointer = f"{step.pointer}/retry/{number - 1}"
                message = f"Errors of this rule are taken by rule {before} already: the first that fits counts."
                yield checking.document.problem(pointer, "UNREACHABLE", message, f"Move it before rule {before}.")
            for each in classes:
                taken.setdefault(each, number)


def check_waits(checking: Checking) -> Iterator[Problem]:
    """A wait that does not say what it waits for, or says two things, or a moment or a key that cannot be read."""
    for step in every_step(checking.outline):
        given = step.words.get("with")
        if step.type != "wait" or not isinstance(given, Mapping):
            continue
        pointer = child(step.pointer, "with")
        said = [told for word, told in _WAITS.items() if given.get(word) is not None]
        if len(said) != 1 and not set(given) - {*_WAITS, "key", "timeout"}:
            told = f"both {' and '.join(said[:2])}" if said else "neither how long nor until when nor for which event"
            message = f"{step.title} says {told} it waits."
            hint = "Give one of them: duration: 2h, until: 2030-01-01T09:00:00+01:00, or event: payment.received."
            yield checking.document.problem(pointer, "WRONG_VALUE", message, hint)
        elif "event" not in given:
            yield from _check_no_event(checking, pointer, given)
        moment, key = given.get("until"), given.get("key")
        if isinstance(moment, str) and "${{" not in moment and not _is_moment(moment):
            message = f"'until' is the text '{moment[:60]}'; it must be a moment with its time zone."
            hint = "Write it like 2030-01-01T09:00:00+01:00 or 2030-01-01T08:00:00Z."
            yield checking.document.problem(child(pointer, "until"), "WRONG_VALUE", message, hint)
        if isinstance(key, str) and "${{" not in key and not (len(key) <= MAX_KEY and key.isprintable()):
            message = f"'key' is no text of at most {MAX_KEY} printable characters, so no signal could have it."
            yield checking.document.problem(
                child(pointer, "key"),
                "WRONG_VALUE",
                message,
                "Give what the event is about, such as an order's number.",
            )


def _check_no_event(checking: Checking, pointer: str, given: Mapping[str, Any]) -> Iterator[Problem]:
    for word, hint in (
        ("key", "Name the event as well, such as event: payment.received."),
        ("timeout", "A wait for a time ends by itself: remove it, or name an event."),
    ):
        if given.get(word) is not None:
            message = f"'{word}' goes with 'event' alone."
            yield checking.document.problem(child(pointer, word), "WRONG_VALUE", message, hint, key=True)


def check_mocks(checking: Checking) -> Iterator[Problem]:
    """A mock that says both how its step ends well and how it fails, or neither."""
    for step in every_step(checking.outline):
        mock = step.words.get("mock")
        if isinstance(mock, Mapping) and not set(mock) - {"output", "error"} and len(mock) != 1:
            told = "both what it gives and how it fails" if mock else "neither what it gives nor how it fails"
            message = f"The mock of {step.title[0].lower()}{step.title[1:]} says {told}."
            hint = "Give one of the two: mock: {output: …}, or mock: {error: {code: …}}."
            yield checking.document.problem(child(step.pointer, "mock"), "WRONG_VALUE", message, hint)


def check_calls(checking: Checking) -> Iterator[Problem]:
    """A workflow that calls itself, whatever happens."""
    data = checking.document.data
    name = data.get("name") if isinstance(data, Mapping) else None
    for step in every_step(checking.outline):
        given = step.words.get("with")
        if step.type != "workflow" or not isinstance(given, Mapping) or given.get("version") is not None:
            continue  # another version of it may end
        if given.get("workflow") == name and name is not None and _is_certain(step):
            message = f"{step.title} calls this very workflow, whatever happens: it would never end."
            hint = 'Give it a condition, such as when: "${{ input.depth > 0 }}".'
            pointer = f"{step.pointer}/with/workflow"
            yield checking.document.problem(pointer, "ENDLESS_LOOP", message, hint)


def _is_certain(step: StepView) -> bool:
    """Whether a step runs in every run, for all one can see: nothing comes before it, no condition is around it."""
    at: StepView | None = step
    while at is not None:
        if at.needs or written(at.words.get("when", True)) is not True:
            return False
        owner = at.scope.owner
        if owner is not None and (owner.type not in ("try", "until") or at.scope.holder != owner.pointer):
            return False
        at = owner
    return True


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
