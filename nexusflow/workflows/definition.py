"""The definition language as pydantic models: one explicit ``type`` a step, unknown words refused.

``python -m nexusflow.workflows.definition`` writes the JSON Schema that editors use (``definition.schema.json``).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

STEP_TIMEOUT = 300.0
MAX_PARALLEL = 20
ID_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
SCHEMA_FILE = Path(__file__).with_name("definition.schema.json")

PLANNED_STEP_TYPES = ("until", "try", "workflow", "wait", "approval", "fail")
"""Step types of the language that this version refuses by name."""
PLANNED_WORDS = ("concurrency", "priority", "idempotency", "cache", "mock")
"""Fields of the language that this version refuses by name."""
PLANNED_TRIGGER_TYPES = ("webhook", "event")
"""Triggers of the language that this version refuses by name."""
PLANNED_TRIGGER_WORDS = ("overlap", "jitter", "paused", "backfill")
"""Fields of a schedule that this version refuses by name."""
MAX_TRIGGERS = 20

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", re.ASCII)
_UNIT_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True)
class ActionInfo:
    """What the checks must know of an action.

    ``input``: its input's JSON Schema. ``queue``: where it runs (``any``: wherever its neighbours run).
    ``connection``: the name of the connection it uses by default ("": none), or None where it takes none.
    """

    name: str
    input: Mapping[str, Any]
    queue: str = "any"
    pure: bool = False
    connection: str | None = None
    summary: str = ""


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
Count = Annotated[int, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]


class Word(BaseModel):
    """Base of everything in a definition: frozen, and a word it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class Retry(Word):
    """How often and when a transient error is tried again, with full jitter on each delay."""

    max: Count = Field(default=3, ge=0, le=100)
    """Further attempts after the first one; 0 switches retrying off."""
    backoff: Literal["exponential", "constant"] = "exponential"
    """Whether the delay doubles after each attempt or stays the same."""
    initial: Duration = 1.0
    """The first delay: `500ms`, `2s`, …"""
    limit: Duration = 300.0
    """The longest delay."""


class Quorum(Word):
    """Join `{n: 2}`: at least two of the needs must have succeeded."""

    n: Count = Field(ge=1)
    """How many of the needs must have succeeded."""


def _join_form(value: Any) -> str:
    return "quorum" if isinstance(value, dict | Quorum) else "word"


Join = Annotated[
    Annotated[Literal["all_success", "all_done", "any_success"], Tag("word")] | Annotated[Quorum, Tag("quorum")],
    Discriminator(_join_form),
]


class StepBase(Word):
    """The fields alike on every step."""

    id: str = Field(pattern=ID_PATTERN)
    """The step's name in `needs` and in expressions (`steps.<id>.output`): a letter, then a-z, 0-9 and _."""
    name: str = Field(default="", max_length=200)
    """A title for people."""
    needs: tuple[str, ...] = ()
    """The steps of the same scope that come before this one."""
    join: Join = "all_success"
    """When the needs are enough: all_success (a skipped step counts), all_done, any_success, or `{n: 2}`."""
    when: str | Truth | None = None
    """A condition, as one expression: where it is false the step is skipped and its output is null."""
    on_error: Literal["fail", "continue"] = "fail"
    """fail: the run fails with this step's cause. continue: followers see the failure through their join."""


class ActionStep(StepBase):
    """A connector action or `transform`."""

    type: str
    """The action, such as `http.request` or `transform`; `nexusflow actions` lists them."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """The action's input; every value may be or hold an expression: `${{ steps.fetch.output.body }}`."""
    connection: str | None = Field(default=None, pattern=ID_PATTERN)
    """The account to use, where the action takes one."""
    retry: Retry = Retry()
    """How transient errors are tried again."""
    timeout: Duration = STEP_TIMEOUT
    """The longest time for one attempt: `30s`, `5m`, …"""


class ForeachWith(Word):
    """What a foreach runs over."""

    items: str | list[Any]
    """An expression that gives a list, or a list written out."""
    as_: str = Field(default="item", alias="as", pattern=ID_PATTERN)
    """The loop variable: inside, `order` is the item and `order_index` its place, from 0, for `as: order`."""
    max_parallel: Count = Field(default=MAX_PARALLEL, ge=1, le=1_000)
    """The most items that run at the same time."""
    on_item_error: Literal["fail", "collect", "skip"] = "fail"
    """fail: the foreach fails. collect: a failed item gives its error. skip: a failed item is left out."""


class ForeachStep(StepBase):
    """A scope that runs its steps once an item; its output is the list of the items' outputs in item order."""

    type: Literal["foreach"]
    """Runs `steps` once for each of `with.items`."""
    with_: ForeachWith = Field(alias="with")
    """What to run over."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """The steps of one item."""
    output: Any = None
    """What one item gives; default: its last step's output."""


class Case(Word):
    """One branch of a switch: the first case whose `when` is true runs."""

    when: str | Truth
    """The condition, as one expression."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """The branch's steps."""
    output: Any = None
    """What the branch gives; default: its last step's output."""


class Default(Word):
    """The branch of a switch that runs when no case matched."""

    steps: tuple["Step", ...] = Field(min_length=1)
    """The branch's steps."""
    output: Any = None
    """What the branch gives; default: its last step's output."""


class SwitchStep(StepBase):
    """A scope that runs one of its branches; its output is the chosen branch's (null where none matched)."""

    type: Literal["switch"]
    """Runs the first of `cases` that is true, else `default`."""
    cases: tuple[Case, ...] = Field(min_length=1)
    """The branches, in the order in which they are tried."""
    default: Default | None = None
    """The branch that runs when no case is true."""


def step_form(value: Any) -> str:
    """Which model a step is read with: ``action``, ``foreach`` or ``switch`` (also the tag in pydantic's errors)."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if kind in ("foreach", "switch") else "action"


Step = Annotated[
    Annotated[ActionStep, Tag("action")]
    | Annotated[ForeachStep, Tag("foreach")]
    | Annotated[SwitchStep, Tag("switch")],
    Discriminator(step_form),
]


class InputSpec(Word):
    """What a run takes."""

    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    """A JSON Schema (2020-12, no remote `$ref`); `x-sensitive: true` masks a value wherever a run is shown."""


class ScheduleTrigger(Word):
    """Starts a run of the published version at certain times: give `cron` or `interval`."""

    type: Literal["schedule"]
    """`schedule`: by the clock."""
    id: str | None = Field(default=None, pattern=ID_PATTERN)
    """A name for it, where schedules are listed."""
    cron: str | None = None
    """Five fields: minute, hour, day of the month, month, day of the week: `0 7 * * 1-5`."""
    interval: Duration | None = None
    """The time from one tick to the next, at least `1s`, counted from the moment it was published."""
    timezone: str = "UTC"
    """The IANA time zone in which `cron` is read, such as `Europe/Berlin`."""
    misfire: Literal["skip", "last", "all"] = "last"
    """What becomes of ticks that were missed while the cluster was away: none, the last, or all of them is run late."""
    misfire_limit: Count = Field(default=100, ge=1, le=1_000)
    """With `misfire: all`: the most missed ticks that are run, the latest ones."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The input of its runs, written out: it holds no expressions."""


class Definition(Word):
    """A NexusFlow workflow."""

    nexusflow: Literal["1"]
    """The version of the language: "1"."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")
    """The workflow's name: a-z, 0-9 and -."""
    description: str = Field(default="", max_length=10_000)
    """What the workflow does, for people."""
    input: InputSpec = InputSpec()
    """What a run takes."""
    triggers: tuple[ScheduleTrigger, ...] = Field(default=(), max_length=MAX_TRIGGERS)
    """What starts runs of the published version by itself."""
    timeout: Duration | None = None
    """The longest time for a whole run: `1h`, `2d`, …"""
    steps: tuple[Step, ...] = Field(min_length=1)
    """The workflow's steps; those that do not need each other run at the same time."""
    output: Any = None
    """What a run gives; default: the last step's output."""


for _model in (ForeachStep, Case, Default, SwitchStep, Definition):
    _model.model_rebuild()


def _tidy(node: Any) -> Any:
    """A generated schema without titles that only repeat the word, and with durations' defaults as one writes them."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {
        # The keys of these two are words of the language, `default` and perhaps `title` among them.
        key: {word: _tidy(each) for word, each in value.items()} if key in ("properties", "$defs") else _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
    }
    default = tidied.get("default")
    if isinstance(default, float):
        tidied["default"] = f"{default / 60:g}m" if default % 60 == 0 else f"{default:g}s"
    elif isinstance(default, dict):
        del tidied["default"]
    return tidied


def definition_schema() -> dict[str, Any]:
    """The language as JSON Schema, for editors and other programs."""
    schema = _tidy(Definition.model_json_schema(by_alias=True, mode="validation"))
    # An action's ``type`` is any text: without this a foreach with a slip would match no branch, or two.
    schema["$defs"]["ActionStep"]["properties"]["type"]["not"] = {"enum": ["foreach", "switch", *PLANNED_STEP_TYPES]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "NexusFlow workflow", **schema}


def schema_text() -> str:
    """The published schema's file, as it must stand beside this module."""
    return json.dumps(definition_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
