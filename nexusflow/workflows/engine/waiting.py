"""How long a wait waits, as its values say when it begins."""

from datetime import UTC, datetime
from typing import Any

from nexusflow.errors import Permanent
from nexusflow.workflows.language.words import parse_duration


def waiting_seconds(value: Any) -> float:
    """Seconds of a duration's text. Raises Permanent NOT_A_DURATION."""
    try:
        return parse_duration(value)
    except ValueError as error:
        shown = f"'{value[:80]}'" if isinstance(value, str) else "no text"
        message = f"`duration` gave {shown}; {error}."
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
