"""Rules about until, try and wait: loops that cannot end, catches that catch nothing, waits that say no time."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.workflows.language.checking import Checking, written
from nexusflow.workflows.language.outline import ScopeView, StepView, every_call, every_step


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
    """A wait that says no time, or two, or a moment that cannot be read."""
    for step in every_step(checking.outline):
        given = step.words.get("with")
        if step.type != "wait" or not isinstance(given, Mapping):
            continue
        pointer = child(step.pointer, "with")
        said = [word for word in ("duration", "until") if given.get(word) is not None]
        if len(said) != 1 and not set(given) - {"duration", "until"}:
            told = "both how long and until when" if said else "neither how long nor until when"
            message = f"{step.title} says {told} it waits."
            hint = "Give one of the two: duration: 2h, or until: 2030-01-01T09:00:00+01:00."
            yield checking.document.problem(pointer, "WRONG_VALUE", message, hint)
        moment = given.get("until")
        if isinstance(moment, str) and "${{" not in moment and not _is_moment(moment):
            message = f"'until' is the text '{moment[:60]}'; it must be a moment with its time zone."
            hint = "Write it like 2030-01-01T09:00:00+01:00 or 2030-01-01T08:00:00Z."
            yield checking.document.problem(child(pointer, "until"), "WRONG_VALUE", message, hint)


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
