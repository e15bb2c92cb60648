"""The definition language as pydantic models: one explicit ``type`` a step, unknown words refused."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

STEP_TIMEOUT = 300.0
MAX_PARALLEL = 20
ID_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
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


class Word(BaseModel):
    """Base of everything in a definition: frozen, and a word it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Retry(Word):
    """How often and when a transient error is tried again: ``max`` further attempts, full jitter on each delay."""

    max: int = Field(default=3, ge=0, le=100)
    backoff: Literal["exponential", "constant"] = "exponential"
    initial: Duration = 1.0
    limit: Duration = 300.0


class Quorum(Word):
    """Join ``{n: 2}``: two of the needs must have succeeded."""

    n: int = Field(ge=1)


Join = Literal["all_success", "all_done", "any_success"] | Quorum


class StepBase(Word):
    """The fields alike on every step."""

    id: str = Field(pattern=ID_PATTERN)
    name: str = Field(default="", max_length=200)
    needs: tuple[str, ...] = ()
    join: Join = "all_success"
    when: str | bool | None = None
    on_error: Literal["fail", "continue"] = "fail"


class ActionStep(StepBase):
    """A connector action or ``transform``: ``with`` is its input, expressions allowed in every value."""

    type: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    connection: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,63}$")
    retry: Retry = Retry()
    timeout: Duration = STEP_TIMEOUT


class ForeachWith(Word):
    """``items``: an expression that gives a list (or a list written out); one run of the body an item."""

    items: str | list[Any]
    as_: str = Field(default="item", alias="as", pattern=ID_PATTERN)
    max_parallel: int = Field(default=MAX_PARALLEL, ge=1, le=1_000)
    on_item_error: Literal["fail", "collect", "skip"] = "fail"


class ForeachStep(StepBase):
    """A scope that runs its steps once an item; its output is the list of the items' outputs in item order."""

    type: Literal["foreach"]
    with_: ForeachWith = Field(alias="with")
    steps: tuple["Step", ...] = Field(min_length=1)
    output: Any = None


class Case(Word):
    """One branch of a switch: the first case whose ``when`` is true runs."""

    when: str | bool
    steps: tuple["Step", ...] = Field(min_length=1)
    output: Any = None


class Default(Word):
    """The branch of a switch that runs when no case matched."""

    steps: tuple["Step", ...] = Field(min_length=1)
    output: Any = None


class SwitchStep(StepBase):
    """A scope that runs one of its branches; its output is the chosen branch's (null where none matched)."""

    type: Literal["switch"]
    cases: tuple[Case, ...] = Field(min_length=1)
    default: Default | None = None


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if kind in ("foreach", "switch") else "action"


Step = Annotated[
    Annotated[ActionStep, Tag("action")]
    | Annotated[ForeachStep, Tag("foreach")]
    | Annotated[SwitchStep, Tag("switch")],
    Discriminator(_kind),
]


class InputSpec(Word):
    """What a run takes: a JSON Schema (2020-12, no remote ``$ref``); ``x-sensitive: true`` masks a value everywhere."""

    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class Definition(Word):
    """A workflow as its author wrote it."""

    nexusflow: Literal["1"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")
    description: str = Field(default="", max_length=10_000)
    input: InputSpec = InputSpec()
    timeout: Duration | None = None
    steps: tuple[Step, ...] = Field(min_length=1)
    output: Any = None


for _model in (ForeachStep, Case, Default, SwitchStep, Definition):
    _model.model_rebuild()
