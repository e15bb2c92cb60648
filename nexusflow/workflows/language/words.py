"""Small words of the definition language: durations, counts, classes of errors, retry, join, mock, compensate."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

STEP_TIMEOUT = 300.0
ID_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,99}$"
"""A workflow's name."""
ERROR_CODE_PATTERN = r"^[A-Z][A-Z0-9_]{0,62}$"
ERROR_CLASS_PATTERN = r"^([A-Z][A-Z0-9_]{0,62}[*]?|any|timeout|transient|user|provider|platform)$"
"""An error's code, the beginning of codes with a star behind it, or a class of errors."""
EVENT_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$"
"""The name of an event: a letter, then letters, digits, dots, dashes and _."""
EVENT = re.compile(EVENT_PATTERN)
MAX_KEY = 200
"""Characters of the key that says which event of a name is meant."""

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", re.ASCII)
_UNIT_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


def parse_duration(value: Any) -> float:
    """Seconds of ``90s``, ``5m``, ``1h30m``, ``250ms`` or ``2d``; raises ValueError for anything else or for zero."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not value:
        raise ValueError("a duration is written like 500ms, 30s, 5m, 1h30m or 2d")
    seconds = sum(float(part) * unit for part, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if part)
    if not 0 < seconds <= 366 * 86_400:
        raise ValueError("a duration is longer than zero and at most 366 days")
    return seconds


Duration = Annotated[
    float,
    BeforeValidator(
        parse_duration, json_schema_input_type=Annotated[str, Field(pattern=r"^(\d+(\.\d+)?(d|h|ms|m|s))+$")]
    ),
]


def _check_duration_text(value: Any) -> Any:
    if not (isinstance(value, str) and "${{" in value):
        parse_duration(value)
    return value


DurationOrExpression = Annotated[str, BeforeValidator(_check_duration_text)]
Count = Annotated[int, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]


ErrorClass = Annotated[str, Field(pattern=ERROR_CLASS_PATTERN)]


class Word(BaseModel):
    """Base of everything in a definition: frozen, and a word it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class Retry(Word):
    """How often and when an error is tried again; of several rules the first that fits the error counts."""

    max: Count = Field(default=3, ge=0, le=100)
    """Further attempts after the first one; 0 switches retrying off."""
    backoff: Literal["exponential", "constant"] = "exponential"
    """Whether the delay doubles after each attempt or stays the same."""
    jitter: Literal["full", "none"] = "full"
    """full: each delay is drawn between zero and its length, so that many do not come back at once."""
    initial: Duration = 1.0
    """The first delay: `500ms`, `2s`, …"""
    limit: Duration = 300.0
    """The longest delay; what a vendor asks for by Retry-After is waited for all the same, up to an hour."""
    errors: tuple[ErrorClass, ...] = ()
    """The errors it is for: codes (`HTTP_*` too) and classes; default: the transient ones."""


def _retry_form(value: Any) -> str:
    return "rules" if isinstance(value, list | tuple) else "rule"


Retries = Annotated[
    Annotated[Retry, Tag("rule")] | Annotated[tuple[Retry, ...], Field(min_length=1, max_length=20), Tag("rules")],
    Discriminator(_retry_form),
]


class Quorum(Word):
    """Join `{n: 2}`: at least two of the needs must have succeeded."""

    n: Count = Field(ge=1)
    """How many of the needs must have succeeded."""
    rest: Literal["leave", "cancel"] = "leave"
    """What becomes of the others then. leave: they go on. cancel: they are stopped, with all that only leads there."""


def _join_form(value: Any) -> str:
    return "quorum" if isinstance(value, dict | Quorum) else "word"


Join = Annotated[
    Annotated[Literal["all_success", "all_done", "any_success"], Tag("word")] | Annotated[Quorum, Tag("quorum")],
    Discriminator(_join_form),
]


class MockError(Word):
    """The error with which a mocked step fails."""

    code: str = Field(pattern=ERROR_CODE_PATTERN)
    """Its code, such as `HTTP_STATUS`."""
    message: str = Field(default="mocked", max_length=1_000)
    """Its message."""
    cause: Literal["user", "provider", "platform"] = "user"
    """Who would have to act."""


class Mock(Word):
    """What a step gives, instead of being done, in runs that are started with mocks: `output` or `error`."""

    output: Any = None
    """Its output; every value may be or hold an expression."""
    error: MockError | None = None
    """It fails with this."""


class Compensation(Word):
    """What undoes a step that succeeded, if the try around it fails afterwards."""

    type: str
    """The action that undoes it."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """The action's input; its expressions see what the step sees, and the step itself."""
    connection: str | None = Field(default=None, pattern=ID_PATTERN)
    """The account to use, where the action takes one."""
    retry: Retries = Retry()
    """How errors are tried again."""
    timeout: Duration = STEP_TIMEOUT
    """The longest time for one attempt."""
