"""What comes next in a try, told by the records of its parts: its steps, the catches, ``finally``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexusflow.workflows.engine.outcomes import Outcome, item_prefix
from nexusflow.workflows.language.error_classes import error_fits
from nexusflow.workflows.planning.graph import BODY, FINALLY
from nexusflow.workflows.planning.plan import Plan


@dataclass(frozen=True)
class Next:
    """``enter``: the part to start. ``end``: the outcome of the whole try. Neither: nothing is to be done yet."""

    enter: str | None = None
    end: Outcome | None = None


def parts_of(plan: Plan, path: str) -> list[str]:
    """The names of a try's parts: ``try``, ``catch0``, …, ``finally``."""
    return [scope.path.rpartition("/")[2] for scope in plan.scopes.values() if scope.step == path and scope.step]


def next_of_try(spec: Mapping[str, Any], parts: Mapping[str, Outcome | None]) -> Next:
    """What follows from the parts' outcomes (None: not over). ``spec``: the try's own words.

    The try's steps decide how it ends, unless they failed and a catch is for their error: then that catch does. What is
    last runs in any case, and decides only if it fails.
    """
    result = parts[BODY]
    if result is None:
        return Next()
    if result.state == "failed":
        caught = _catch_for(spec, result.error or {})
        if caught is not None:
            result = parts[caught]
            if result is None:
                return Next(enter=caught)
    if FINALLY in parts:
        last = parts[FINALLY]
        if last is None:
            return Next(enter=FINALLY)
        if last.state == "failed":
            result = last
    return Next(end=result)


def tries_around(plan: Plan, step: str, item: str) -> list[tuple[str, str]]:
    """The tries whose steps this one is among, innermost first, each with its item."""
    found = []
    path: str | None = plan.steps[step].scope
    while path is not None:
        scope = plan.scopes[path]
        if scope.kind == "part" and path == f"{scope.step}/{BODY}":
            found.append((scope.step, item_prefix(item, scope.depth)))
        path = scope.parent
    return found


def tries_inside(plan: Plan, path: str, failed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The tries around a compensation that failed (``step``, ``item``) which lie inside of the try ``path``."""
    around = tries_around(plan, failed["step"], failed["item"] or "")
    return [(holder, at) for holder, at in around if holder.startswith(f"{path}/")]


def untold(
    plan: Plan, path: str, failed: list[dict[str, Any]], known: Mapping[tuple[str, str], Outcome]
) -> list[dict[str, Any]]:
    """Those of the compensations that failed which no try further in than ``path`` has told of already.

    One has if its own steps failed and it came to its end: a try that was stopped while it undid them told nobody.
    """

    def told(holder: str, at: str) -> bool:
        ends = (known.get((holder, at)), known.get((f"{holder}/{BODY}", at)))
        return all(end is not None and end.state == "failed" for end in ends)

    return [each for each in failed if not any(told(*key) for key in tries_inside(plan, path, each))]


def compensation_failed(failed: list[dict[str, Any]]) -> dict[str, Any]:
    """The error of a try in which these compensations failed (``step``, ``item``, ``error``)."""
    return {
        "code": "COMPENSATION_FAILED",
        "message": f"What these steps have done could not be undone: {', '.join(each['step'] for each in failed[:5])}.",
        "hint": "See the errors of their compensations, and undo by hand what they left.",
        "cause": "user",
        "details": failed,
    }


def _catch_for(spec: Mapping[str, Any], error: Mapping[str, Any]) -> str | None:
    for number, catch in enumerate(spec["catch"]):
        if error_fits(error, catch["errors"] or ("any",)):
            return f"catch{number}"
    return None
