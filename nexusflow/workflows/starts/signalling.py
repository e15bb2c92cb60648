"""Sending signals: a run that waits for the event goes on, or the signal is kept for one that will."""

from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow.errors import Conflict, InvalidInput, Problem, StepError
from nexusflow.settings import get_settings
from nexusflow.workflows.engine.act import storable
from nexusflow.workflows.language.words import EVENT, MAX_KEY, parse_duration
from nexusflow.workflows.rows import signals
from nexusflow.workflows.starts.idempotency import answer_once, fingerprint

KEEP_FOR, LONGEST_KEEP = "7d", "30d"
"""How long a signal is kept that nobody waits for, if it does not say; and at most."""


@dataclass(frozen=True)
class Sent:
    """What became of a signal at once: delivered (to whom), or kept. ``is_replayed``: an earlier request sent it."""

    id: str
    state: str
    run_id: str | None
    step: str | None
    item: str | None
    is_replayed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """It as programs get it."""
        return {"id": self.id, "state": self.state, "run_id": self.run_id, "step": self.step, "item": self.item}


def send_signal(
    tenant: str,
    event: str,
    *,
    key: str = "",
    data: Any = None,
    keep_for: str | None = None,
    only_if_awaited: bool = False,
    idempotency_key: str | None = None,
) -> Sent:
    """Say that an event happened: the run that has waited for it longest goes on, else the signal is kept.

    Durable at return. ``only_if_awaited``: it is not kept, but recorded as refused. Raises InvalidInput, and Conflict
    (NOBODY_WAITS, or the key belongs to another request).
    """
    signal: dict[str, Any] = {
        "tenant": tenant,
        "signal": str(uuid_utils.uuid7()),
        "event": event,
        "key": key,
        "data": _checked(event, key, data),
        "keep": _seconds(keep_for or KEEP_FOR),
    }

    def work(connection: sa.Connection) -> dict[str, Any]:
        if not signals.hand_out(connection, signal) and only_if_awaited:
            signals.refuse(connection, signal)
        found = signals.read(connection, signal["signal"])
        return Sent(found.id, found.state, found.run_id, found.step, found.item).as_dict() if found else {}

    mark = fingerprint("signal", event, key, data, keep_for, only_if_awaited)
    answer, is_replayed = answer_once(tenant, idempotency_key, mark, work)
    sent = Sent(**answer, is_replayed=is_replayed)
    if sent.state == "refused":
        which = f" with the key '{key}'" if key else ""
        raise Conflict(
            "NOBODY_WAITS",
            f"No run waits for the event '{event}'{which}. The signal is recorded as refused: {sent.id}.",
            "Send it without only_if_awaited, and it is kept for a run that will wait.",
        )
    return sent


def _checked(event: str, key: str, data: Any) -> str:
    """The data as JSON, of a signal that can be kept. Raises InvalidInput."""
    if not EVENT.fullmatch(event):
        message = f"'{event[:60]}' is no name of an event."
        hint = "Write a letter, then letters, digits, dots, dashes and _ (at most 100), such as payment.received."
        raise _refused("/name", message, hint)
    if len(key) > MAX_KEY or not key.isprintable():
        raise _refused("/key", f"A key is a text of at most {MAX_KEY} printable characters.", "Shorten it.")
    try:
        encoded = orjson.dumps(storable(data, "signal"))
    except StepError as error:
        raise _refused("/data", error.message, error.hint) from None
    limit = get_settings().inline_bytes
    if len(encoded) > limit:
        message = f"The signal's data are {len(encoded):,} bytes, more than {limit:,}."
        raise _refused("/data", message, "Keep them as a file (POST /v2/files) and send its reference.")
    return encoded.decode()


def _seconds(keep_for: str) -> float:
    try:
        seconds = parse_duration(keep_for)
    except ValueError as error:
        raise _refused("/keep_for", f"'{keep_for[:60]}' cannot be read: {error}.", "Write it like 12h or 7d.") from None
    if seconds > parse_duration(LONGEST_KEEP):
        raise _refused("/keep_for", f"A signal is kept for {LONGEST_KEEP} at most.", f"Give {LONGEST_KEEP} or less.")
    return seconds


def _refused(pointer: str, message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, hint, [Problem(pointer, None, None, "INVALID_INPUT", message, hint)])
