"""Limits of a version, and what a run with its input takes part in: its slots, its place, how long it waits first."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from nexusflow.errors import InvalidInput, Permanent
from nexusflow.workflows.evaluation.expressions import Expression, parse
from nexusflow.workflows.evaluation.references import look_up
from nexusflow.workflows.language.limits import TOP_PRIORITY, USUAL_PRIORITY

EXCLUSIVE = frozenset({"refuse", "replace", "reuse"})
WORDS = ("concurrency", "rate", "debounce", "singleton", "priority")
KEY_SHOWN = 100
"""The longest key that is kept to be shown: a part of one could not be recognised as sensitive any more."""


@dataclass(frozen=True)
class Limit:
    """One limit: ``most`` runs at once (concurrency), or within so many ``seconds`` (rate), or the last one (debounce).

    ``when_full``: queue, refuse, replace or reuse; None where a run always waits.
    """

    kind: str
    most: int
    key: str | None = None
    seconds: float | None = None
    when_full: str | None = None


@dataclass(frozen=True)
class Limits:
    """What a version says of its runs. ``priority``: a number, or an expression over the input."""

    limits: tuple[Limit, ...] = ()
    priority: int | str = USUAL_PRIORITY

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Limits":
        """Those of a stored definition, or of the words of one."""
        given = config.get("concurrency") or []
        found = [
            Limit("concurrency", each["limit"], each.get("key"), None, each.get("when_full", "queue"))
            for each in ([given] if isinstance(given, Mapping) else given)
        ]
        if config.get("singleton"):
            found.append(Limit("concurrency", 1, when_full="reuse"))
        if rate := config.get("rate"):
            found.append(Limit("rate", rate["limit"], rate.get("key"), rate["per"]))
        if debounce := config.get("debounce"):
            found.append(Limit("debounce", 1, debounce.get("key"), debounce["wait"]))
        priority = config.get("priority")
        return cls(tuple(found), USUAL_PRIORITY if priority is None else priority)

    @property
    def are_there(self) -> bool:
        """Whether its runs may have to wait, or to go before others."""
        return bool(self.limits) or self.priority != USUAL_PRIORITY

    @property
    def are_exclusive(self) -> bool:
        """Whether a start decides over other runs, so that starts come one after the other."""
        return any(each.when_full in EXCLUSIVE or each.kind == "debounce" for each in self.limits)

    def place(self, workflow: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A run's ``slots``, its ``priority`` and how many seconds it waits in any case. Raises InvalidInput."""
        slots = []
        for number, limit in enumerate(self.limits):
            key = key_of(limit.key, given)
            slots.append(
                {
                    "number": number,
                    "kind": limit.kind,
                    "scope": _scope(workflow, limit, key),
                    "key": key if key is not None and len(key) <= KEY_SHOWN else None,
                    "most": limit.most,
                    "seconds": limit.seconds,
                    "when_full": limit.when_full,
                }
            )
        waits = [limit.seconds or 0.0 for limit in self.limits if limit.kind == "debounce"]
        return {"slots": slots, "priority": self._priority(given), "wait": sum(waits)}

    def _priority(self, given: Mapping[str, Any]) -> int:
        if isinstance(self.priority, int):
            return self.priority
        (expression,) = parse(self.priority).expressions
        value = _value(expression, given)
        if value is None:
            return USUAL_PRIORITY
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TOP_PRIORITY:
            shown = orjson.dumps(value).decode()[:40]
            raise InvalidInput(
                f"The run's priority is {shown} ({expression.source}); it must be a whole number from 0 to 9.",
                "Correct the input, or allow only such numbers in the workflow's `input.schema`.",
            )
        return value


def key_of(template: str | None, given: Mapping[str, Any]) -> str | None:
    """The value of a key for an input; what is not there, or null, is empty. None where the limit has no key."""
    if template is None:
        return None
    parts = [_value(part, given) if isinstance(part, Expression) else part for part in parse(template).parts]
    return "".join(_text(part) for part in parts)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _value(expression: Expression, given: Mapping[str, Any]) -> Any:
    try:
        return look_up(expression.plain or (), {"input": given})
    except Permanent:
        return None


def _scope(workflow: str, limit: Limit, key: str | None) -> str:
    """What is counted together: the runs of one workflow, under one kind of limit, with one value of one key."""
    told = orjson.dumps([workflow, limit.kind, limit.key, key])
    return hashlib.sha256(told).hexdigest()[:32]
