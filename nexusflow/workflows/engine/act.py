"""One attempt of one action: resolve its input, do it within its timeout, check its output."""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson
from pydantic import BaseModel, ValidationError

from nexusflow.connectors.base import Action, FileRef, StepContext
from nexusflow.connectors.registry import get_action
from nexusflow.errors import ClusterUnusable, NexusError, Permanent, StepError, Transient
from nexusflow.log import crash_fields, get_logger
from nexusflow.settings import get_settings
from nexusflow.storage import StorageAway
from nexusflow.workflows.engine.hung import TookTooLong, within
from nexusflow.workflows.evaluation.expressions import resolve
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.rows.cache import digest_of, find_output, keep_output
from nexusflow.workflows.rows.reruns import Family, key_run
from nexusflow.workflows.rows.values import Kept

log = get_logger(__name__)
TIMED_OUT = "STEP_TIMED_OUT"
MAX_VENDOR_WAIT = 3600.0
MAX_KEY = 200
CLIENTS_HASTE = 0.02

FileOpener = Callable[[str, FileRef], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Place:
    """Which step, of which run and item, on which attempt. ``family``: of a rerun, what its keys go by."""

    tenant: str
    run: str
    step: str
    item: str
    attempt: int
    family: Family | None = None

    @property
    def key(self) -> str:
        """``run/step/item``: the same on every attempt and on reruns of what did not succeed, else another."""
        run = key_run(self.family, self.run, self.step, self.item)
        return f"{run}/{self.step}/{self.item}" if self.item else f"{run}/{self.step}"


@dataclass(frozen=True)
class Performed:
    """An action's output, and whether it is that of an earlier call."""

    output: Any
    cached: bool = False


def perform(spec: dict[str, Any], place: Place, scope: dict[str, Any], open_file: FileOpener) -> Performed:
    """Do a step's (or a compensation's) action once and give its output as JSON data; ``spec``: its words.

    A step with ``cache`` is not done where the same was done lately.
    Raises StepError: Transient where another attempt may help, else Permanent.
    """
    action, given = asked(spec, scope)
    return done(action, validated(action, given), spec, place, scope, open_file)


def asked(spec: dict[str, Any], scope: dict[str, Any]) -> tuple[Action, dict[str, Any]]:
    """What a step asks for: its action, and the input with its expressions' values. Raises Permanent."""
    action = _action(spec["type"])
    given = resolve(spec.get("with") or {}, scope, get_sandbox())
    if spec["type"] == "transform" and "input" not in given:
        given["input"] = {"input": scope["input"], "steps": scope["steps"]}
    return action, given


def done(
    action: Action, value: BaseModel, spec: dict[str, Any], place: Place, scope: dict[str, Any], open_file: FileOpener
) -> Performed:
    """Do what a step asked for, and give its output as JSON data. Raises StepError."""
    context = _context(action, spec, place, _key(spec, place, scope), open_file)
    digest = b""
    if spec.get("cache"):
        digest = digest_of(action.name, context.connection_name, value.model_dump(mode="json", by_alias=True))
        if (kept := find_output(place.tenant, digest)) is not None:
            return Performed(kept[0], cached=True)
    if action.queue == "any":
        result = _run(action, context, value)
    else:
        result = _within(spec["timeout"], context.deadline, lambda: _run(action, context, value))
    output = storable(_plain(result))
    if digest:
        keep_output(place.tenant, digest, output, spec["cache"])
    return Performed(output)


def _key(spec: dict[str, Any], place: Place, scope: dict[str, Any]) -> str:
    """The idempotency key: the one that the step gives, or its place. Raises Permanent."""
    if spec.get("idempotency") is None:
        return place.key
    value = resolve(spec["idempotency"], scope, get_sandbox())
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not 1 <= len(text) <= MAX_KEY or not (text.isascii() and text.isprintable()):
        raise Permanent(
            "INVALID_IDEMPOTENCY_KEY",
            f"`idempotency` gave no key: 1 to {MAX_KEY} printable ASCII characters, or a whole number.",
            "Give what tells this effect from others, such as an order's id.",
        )
    return text


def _action(name: str) -> Action:
    try:
        return get_action(name)
    except NexusError as error:
        raise Permanent("UNKNOWN_ACTION", error.message, error.hint, cause="platform") from None


def _context(action: Action, spec: dict[str, Any], place: Place, key: str, open_file: FileOpener) -> StepContext:
    settings = get_settings()
    connection = spec.get("connection") or action.connection or ""
    return StepContext(
        tenant_id=place.tenant,
        run_id=place.run,
        step=place.step,
        item=place.item,
        attempt=place.attempt,
        idempotency_key=key,
        deadline=time.monotonic() + spec["timeout"],
        connection_name=connection,
        connection=settings.connections.get(connection, {}),
        allow_private_addresses=settings.allow_private_addresses,
        open_file=lambda reference: open_file(place.tenant, reference),
        jq=get_sandbox().jq,
    )


def validated(action: Action, given: dict[str, Any]) -> BaseModel:
    """The input as the action takes it. Raises Permanent INVALID_STEP_INPUT."""
    try:
        return action.input.model_validate(given)
    except ValidationError as error:
        problems = [
            {"path": "/" + "/".join(str(part) for part in each["loc"]), "message": each["msg"]}
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        shown = "; ".join(f"{each['path']}: {each['message']}" for each in problems[:5])
        raise Permanent(
            "INVALID_STEP_INPUT",
            f"The input does not fit {action.name}: {shown}.",
            f"nexusflow actions {action.name}, or GET /v2/actions/{action.name}, shows what it takes.",
            details=problems[:50],
        ) from None


def _run(action: Action, context: StepContext, value: BaseModel) -> Any:
    """The action's own errors pass; anything else is a defect of the action, recorded as such and logged."""
    try:
        return action.run(context, value)
    except StepError:
        raise
    except StorageAway as error:
        raise Transient("STORAGE_AWAY", error.message, error.hint, cause="platform") from error
    except ClusterUnusable as error:
        raise Transient("DATABASE_AWAY", error.message, error.hint, cause="platform") from error
    except Exception as error:
        log.error("action.crashed", action=action.name, run=context.run_id, step=context.step, **crash_fields(error))
        raise Permanent(
            "ACTION_CRASHED",
            f"{action.name} met an unexpected {type(error).__name__}.",
            "This is a defect of the connector; the worker's log has the details.",
            cause="platform",
        ) from error


def _within(timeout: float, deadline: float, call: Callable[[], Any]) -> Any:
    late = Transient(
        TIMED_OUT, f"The step took longer than its timeout of {timeout:g} s.", "Raise `timeout`, or do less."
    )
    try:
        return within(timeout, call)
    except TookTooLong:
        raise late from None
    except Transient as error:
        if time.monotonic() > deadline - CLIENTS_HASTE:
            raise late from error  # the client's own limit is the same deadline: whichever was faster, it is a timeout
        raise


def _plain(result: Any) -> Any:
    if not isinstance(result, BaseModel):
        return result
    try:
        return result.model_dump(mode="json", by_alias=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise _not_plain("output", error) from None


def storable(value: Any, what: str = "output") -> Any:
    """The value as JSON data that can be kept; raises Permanent where it is too large or cannot be kept.

    A large value by reference was found storable before.
    """
    if isinstance(value, Kept):
        return value
    try:
        encoded = orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise _not_plain(what, error) from None
    refuse_too_large(len(encoded), what)
    if b"\\u0000" in encoded and _has_nul(value):
        raise Permanent(
            "VALUE_NOT_STORABLE", f"The {what} holds a NUL character, which PostgreSQL cannot keep.", "Remove \\u0000."
        )
    return value


def refuse_too_large(size: int, what: str = "output") -> None:
    """Raise Permanent VALUE_TOO_LARGE for a value of more bytes of JSON than NEXUSFLOW_MAX_VALUE_BYTES."""
    limit = get_settings().max_value_bytes
    if size > limit:
        raise Permanent(
            "VALUE_TOO_LARGE",
            f"The {what} is {size:,} bytes, more than the {limit:,} that a step may keep.",
            "Keep less of it, put it into object storage and pass its key, or raise NEXUSFLOW_MAX_VALUE_BYTES.",
        )


def recordable(error: StepError) -> dict[str, Any]:
    """The error as it is recorded: plain JSON of at most NEXUSFLOW_MAX_ERROR_BYTES, its details left out if need be."""
    limit, shown = get_settings().max_error_bytes, error.as_dict()
    try:
        storable(shown, "error")
        size = len(orjson.dumps(shown))
    except StepError:
        size = limit + 1
    if size <= limit:
        return shown
    text = error.message.replace("\x00", "")
    room = limit // 8  # a character takes six bytes at the most in JSON, and a code and a hint are short
    short = Permanent(error.code[:100], text if len(text) <= room else f"{text[:room]}…", error.hint[:500], error.cause)
    return short.as_dict() | {"shortened": True}


def _not_plain(what: str, error: Exception) -> Permanent:
    return Permanent(
        "VALUE_NOT_STORABLE",
        f"The {what} is no plain JSON: {error}.",
        "Give text, numbers, lists and objects, nested at most 254 levels deep.",
    )


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(each) for key, each in value.items())
    return isinstance(value, list) and any(_has_nul(each) for each in value)


def retry_delay(retry: dict[str, Any], attempt: int, asked: float | None) -> float:
    """Seconds until the next attempt: jitter under the backoff's ceiling, at least what the vendor asked for.

    Full jitter as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """
    growth = 2 ** min(attempt - 1, 60) if retry["backoff"] == "exponential" else 1
    ceiling = min(retry["limit"], retry["initial"] * growth)
    delay = ceiling if retry.get("jitter") == "none" else random.uniform(0, ceiling)  # noqa: S311 - no secret
    return max(delay, min(asked or 0.0, MAX_VENDOR_WAIT))
