"""Which errors a rule is for: ``retry`` and ``catch`` name codes and classes."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

CAUSES = ("user", "provider", "platform")
"""Classes by who has to act."""
_LATE = "EVENT_DID_NOT_COME"


def error_fits(error: Mapping[str, Any], classes: Sequence[str], *, transient: bool = False) -> bool:
    """Whether one of the classes fits the recorded error.

    A code fits itself, ``HTTP_*`` every code that begins so, ``timeout`` a step or run out of time and an
    event that did not come, ``user``, ``provider`` and ``platform`` the error's cause, ``transient`` what might go well
    next time, ``any`` everything.
    """
    return any(_fits(error, each, transient) for each in classes)


def _fits(error: Mapping[str, Any], each: str, transient: bool) -> bool:
    code = str(error.get("code", ""))
    if each == "any":
        return True
    if each == "transient":
        return transient
    if each == "timeout":
        return code.endswith("_TIMED_OUT") or code == _LATE
    if each in CAUSES:
        return error.get("cause") == each
    return fnmatchcase(code, each)


def fitting_rule(retry: Any, error: Mapping[str, Any], *, transient: bool) -> dict[str, Any] | None:
    """The first rule of a step's ``retry`` (one rule or a list) that is for this error, or None."""
    for rule in retry if isinstance(retry, list) else [retry]:
        if rule and error_fits(error, rule.get("errors") or ("transient",), transient=transient):
            return dict(rule)
    return None
