"""A finding: one thing that was looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from nexusflow.errors import NexusError

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``level`` fail means that workflows cannot run until ``advice`` is followed."""

    name: str
    level: Level
    message: str
    advice: str = ""


Examination = Callable[[], Iterator[Finding]]


def carefully(name: str, look: Examination) -> list[Finding]:
    """What looking finds; an error while looking is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except NexusError as error:
        found.append(Finding(name, "fail", error.message, error.hint))
    except Exception as error:
        found.append(
            Finding(name, "fail", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        )
    return found


def reason(error: Exception) -> str:
    """What a library said, in one line."""
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__).rstrip(".")[:200]
