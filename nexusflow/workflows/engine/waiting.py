"""How long a wait waits, for which event, and how it ends, as its values say when it begins."""

from datetime import UTC, datetime
from typing import Any

from nexusflow.errors import Permanent
from nexusflow.workflows.engine.consequences import Consequences
from nexusflow.workflows.engine.reading import Reading
from nexusflow.workflows.language.words import MAX_KEY, parse_duration
from nexusflow.workflows.planning.plan import StepPlan
from nexusflow.workflows.rows.effects import Row
from nexusflow.workflows.rows.signals import given_to_wait
from nexusflow.workflows.rows.work import Claim


def waiting_seconds(value: Any, word: str = "duration") -> float:
    """Seconds of a duration's text; ``word``: where it stands. Raises Permanent NOT_A_DURATION."""
    try:
        return parse_duration(value)
    except ValueError as error:
        shown = f"'{value[:80]}'" if isinstance(value, str) else "no text"
        message = f"`{word}` gave {shown}; {error}."
        raise Permanent("NOT_A_DURATION", message, "Give a text such as 90s, 15m or 2d.") from None


def waiting_moment(value: Any) -> str:
    """The moment as ISO 8601 in UTC. Raises Permanent NOT_A_TIME."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        shown = f"'{value[:80]}'" if isinstance(value, str) else "no text"
        raise Permanent(
            "NOT_A_TIME",
            f"`until` gave {shown}, which is no moment with a time zone.",
            "Give a text such as 2030-01-01T09:00:00+01:00 or 2030-01-01T08:00:00Z.",
        )
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise Permanent("NOT_A_TIME", f"`until` gave '{value[:80]}', which is out of range.", "") from None


def waiting_key(value: Any) -> str:
    """The key of the event to wait for; a whole number's digits. Raises Permanent NOT_A_KEY."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and len(value) <= MAX_KEY and value.isprintable():
        return value
    shown = f"'{value[:80]}'" if isinstance(value, str) else "neither a text nor a whole number"
    raise Permanent(
        "NOT_A_KEY",
        f"`key` gave {shown}; a key is a text of at most {MAX_KEY} printable characters.",
        "Give what the event is about, such as an order's number, as a text.",
    )


def begin_wait(plan: StepPlan, row: Row, reading: Reading, consequences: Consequences) -> None:
    """Record that a step waits, and until when or for what. Raises Permanent."""
    given = plan.spec["with"]

    def value(word: str) -> Any:
        return reading.resolve(given[word], plan.refs, row.item)

    row.state = "waiting"
    if given.get("event") is not None:
        key = waiting_key(value("key")) if given["key"] is not None else ""
        seconds = waiting_seconds(value("timeout"), "timeout") if given["timeout"] is not None else None
        consequences.await_event(row, given["event"], key, delay=seconds)
    elif given["duration"] is not None:
        consequences.open_wait(row, delay=waiting_seconds(value("duration")))
    else:
        consequences.open_wait(row, due_at=waiting_moment(value("until")))


def end_of_wait(plan: StepPlan, item: str, claim: Claim) -> Row:
    """The record of a wait that is over: one for an event has its data, or came to nothing."""
    if plan.spec["with"].get("event") is None:
        return Row(plan.path, item, "succeeded")
    given = given_to_wait(claim.hint.tenant, claim.key)
    if given is not None and given.signal is not None:
        return Row(plan.path, item, "succeeded", output=given.data)
    which = f" with the key '{given.key}'" if given is not None and given.key else ""
    error = {
        "code": "EVENT_DID_NOT_COME",
        "message": f"The event '{plan.spec['with']['event']}'{which} did not come in time.",
        "hint": "Raise `timeout`, catch the error, or see whether its signal is sent with this name and key.",
        "cause": "user",
    }
    return Row(plan.path, item, "timed_out", error=error)
