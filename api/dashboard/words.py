"""How the page says things: times, durations, states, JSON."""

import datetime
import json
from typing import Any

SHOWN_LETTERS = 20_000
"""Longer JSON is cut on the page."""

SIGNS = {
    "succeeded": "✓",
    "failed": "✕",
    "timed_out": "!",
    "cancelled": "■",
    "running": "▶",
    "retrying": "↻",
    "waiting": "…",
    "ready": "○",
    "pending": "·",
    "queued": "○",
    "paused": "‖",
    "skipped": "–",
    "blocked": "⊘",
    "draft": "○",
    "published": "✓",
    "archived": "■",
}

CAUSES = {
    "user": "The workflow or its input has to be changed.",
    "provider": "A service that it calls failed.",
    "platform": "NexusFlow itself failed.",
}


def sign(state: str) -> str:
    """A sign for those who do not see the colour."""
    return SIGNS.get(state, "·")


def word(state: str) -> str:
    """A state as one says it."""
    return state.replace("_", " ")


def duration(seconds: float | None) -> str:
    """A length of time in its two largest units."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def moment(time: datetime.datetime | None) -> str:
    """A time in UTC, as one reads it; scripts show it in the reader's own zone."""
    return "" if time is None else f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(time: datetime.datetime | None, now: datetime.datetime | None = None) -> str:
    """How long ago, or how far ahead, roughly."""
    if time is None:
        return ""
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - time).total_seconds()
    if abs(seconds) < 45:
        return "in a moment" if seconds < -1 else "just now"
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if abs(seconds) >= size * 0.95:
            count = max(1, round(abs(seconds) / size))
            told = f"{count} {name}{'' if count == 1 else 's'}"
            return f"{told} ago" if seconds > 0 else f"in {told}"
    return "a minute ago" if seconds > 0 else "in a minute"


def size(count: int) -> str:
    """A number of bytes."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def pretty(value: Any) -> str:
    """JSON for the eye, cut where it is long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_LETTERS else text[:SHOWN_LETTERS] + "\n…"


def is_cut(value: Any) -> bool:
    """Whether ``pretty`` shows a part only: a long value, or one of which only the size is known."""
    if isinstance(value, dict) and set(value) == {"$large"}:
        return True
    return len(json.dumps(value, indent=2, ensure_ascii=False, default=str)) > SHOWN_LETTERS


def short(run: str) -> str:
    """An id as it is shown in lists: enough to find the run by."""
    return run[:13]
