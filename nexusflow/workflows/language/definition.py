"""The definition language as pydantic models: one explicit ``type`` a step, unknown words refused.

``python -m nexusflow.workflows.language.definition`` writes the JSON Schema that editors use
(``nexusflow/workflows/definition.schema.json``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from nexusflow.workflows.language.limits import USUAL_PRIORITY, Concurrencies, Debounce, Priority, Rate
from nexusflow.workflows.language.words import (
    EVENT_PATTERN,
    ID_PATTERN,
    NAME_PATTERN,
    STEP_TIMEOUT,
    Compensation,
    Count,
    Duration,
    DurationOrExpression,
    ErrorClass,
    Join,
    Mock,
    Retries,
    Retry,
    Truth,
    Word,
)

MAX_PARALLEL = 20
MAX_ITERATIONS = 100
SCHEMA_FILE = Path(__file__).parents[1] / "definition.schema.json"

PLANNED_STEP_TYPES = ("approval",)
"""Step types of the language that this version refuses by name."""
PLANNED_WORDS = ("concurrency", "priority")
"""Fields of the language that this version refuses by name."""
PLANNED_TRIGGER_TYPES = ("webhook", "event")
"""Triggers of the language that this version refuses by name."""
PLANNED_TRIGGER_WORDS = ("overlap", "jitter", "paused", "backfill")
"""Fields of a schedule that this version refuses by name."""
MAX_TRIGGERS = 20


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
    on_error: Literal["fail", "continue"] | None = None
    """fail: the run fails with this step's cause. continue: followers see the failure through their join.
    Default: the workflow's own `on_error`."""
    mock: Mock | None = None
    """What it gives, instead of being done, in runs that are started with mocks."""


class ActionStep(StepBase):
    """A connector action or `transform`."""

    type: str
    """The action, such as `http.request` or `transform`; `nexusflow actions` lists them."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """The action's input; every value may be or hold an expression: `${{ steps.fetch.output.body }}`."""
    connection: str | None = Field(default=None, pattern=ID_PATTERN)
    """The account to use, where the action takes one."""
    retry: Retries = Retry()
    """How errors are tried again: one rule, or a list of rules by class of error."""
    timeout: Duration = STEP_TIMEOUT
    """The longest time for one attempt: `30s`, `5m`, …"""
    cache: Duration | None = None
    """For how long an output serves every step of the same type, connection and input: `1h`, …"""
    idempotency: str | None = Field(default=None, max_length=2_000)
    """The key by which a vendor knows repeats, with an expression: `order-${{ input.order }}`.
    Default: one a run, step and item."""
    compensate: Compensation | None = None
    """What undoes the step, if it succeeded and the try around it fails afterwards."""


class ForeachWith(Word):
    """What a foreach runs over."""

    items: str | list[Any]
    """An expression that gives a list, or a list written out."""
    as_: str = Field(default="item", alias="as", pattern=ID_PATTERN)
    """The loop variable: inside, `order` is the item and `order_index` its place, from 0, for `as: order`."""
    max_parallel: Count = Field(default=MAX_PARALLEL, ge=1, le=1_000)
    """The most items that run at the same time."""
    batch: Count | None = Field(default=None, ge=1, le=10_000)
    """Take so many entries at once: the item is then a list of them, and the output one value a batch."""
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


class UntilWith(Word):
    """How often an until repeats."""

    max_iterations: Count = Field(default=MAX_ITERATIONS, ge=1, le=10_000)
    """The most iterations; if the last one does not make `until` true, the step fails with LOOP_DID_NOT_END."""
    delay: Duration | None = None
    """How long to wait between two iterations: `30s`, `5m`, …"""
    as_: str = Field(default="iteration", alias="as", pattern=ID_PATTERN)
    """The variable inside: `iteration.index` counts from 0, `iteration.previous` is the output of the one before."""


class UntilStep(StepBase):
    """A scope that runs its steps again and again until a condition holds; its output is the last iteration's."""

    type: Literal["until"]
    """Runs `steps` until the condition is true."""
    until: str | Truth
    """The condition, as one expression over the inner steps; it is looked at after each iteration."""
    with_: UntilWith = Field(default=UntilWith(), alias="with")
    """How often, and how far apart."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """The steps of one iteration."""
    output: Any = None
    """What one iteration gives; default: its last step's output."""


class Catch(Word):
    """What is done about an error: the first catch that fits it runs."""

    errors: tuple[ErrorClass, ...] = ()
    """The errors it is for: codes (`HTTP_*` too) and classes (user, provider, platform, timeout); default: any."""
    as_: str = Field(default="error", alias="as", pattern=ID_PATTERN)
    """The variable that holds the error inside: `error.code`, `error.message`, `error.step`, …"""
    steps: tuple["Step", ...] = Field(min_length=1)
    """What runs instead."""
    output: Any = None
    """What the try then gives; default: the last step's output."""


class Finally(Word):
    """What runs at the end of a try, whether it went well or not."""

    steps: tuple["Step", ...] = Field(min_length=1)
    """The steps that run in any case."""


class TryStep(StepBase):
    """A scope whose failure can be caught; its output is its own steps', or that of the catch that ran."""

    type: Literal["try"]
    """Runs `steps`; if they fail, the first `catch` that fits; then `finally`."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """The steps that may fail."""
    output: Any = None
    """What it gives if nothing fails; default: the last step's output."""
    catch: tuple[Catch, ...] = Field(default=(), max_length=20)
    """What to do about errors, in the order in which they are tried."""
    finally_: Finally | None = Field(default=None, alias="finally")
    """What runs at the end in any case; if it fails, the try fails."""


class WaitWith(Word):
    """What to wait for: give `duration`, `until` or `event`."""

    duration: DurationOrExpression | None = None
    """The time to wait, such as `2h`; or an expression that gives such a text."""
    until: str | None = None
    """The moment to wait for, in ISO 8601 with its zone: `2030-01-01T09:00:00+01:00`; or an expression for it."""
    event: str | None = Field(default=None, pattern=EVENT_PATTERN)
    """The name of the event to wait for, such as `payment.received`; what its signal brings is the output."""
    key: str | None = None
    """Which event of that name, such as an order's number; or an expression that gives it. Default: the one without."""
    timeout: DurationOrExpression | None = None
    """The longest time to wait for the event, or an expression for it; then the step ends with EVENT_DID_NOT_COME."""


class WaitStep(StepBase):
    """Waits, and holds no worker, no message and no slot while it does."""

    type: Literal["wait"]
    """Goes on after a time, at a moment, or when an event happens."""
    with_: WaitWith = Field(alias="with")
    """What to wait for."""


class CallWith(Word):
    """Which workflow to call, and with what."""

    workflow: str = Field(pattern=NAME_PATTERN)
    """The name of the workflow; it may be this one."""
    version: Count | None = Field(default=None, ge=1, le=2**31 - 1)
    """The version to run; default: the one that was published (else the newest) when this run was accepted."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The input of its run; every value may be or hold an expression."""
    wait: Truth = True
    """true: wait for its end; the output is its output. false: go on at once; the output is `{run_id}`."""


class CallStep(StepBase):
    """Runs another workflow as a run of its own, its child, and waits for it without holding anything."""

    type: Literal["workflow"]
    """Runs the workflow that `with.workflow` names."""
    with_: CallWith = Field(alias="with")
    """Which one, and with what input."""


SCOPE_TYPES = ("foreach", "switch", "until", "try")
CONTROL_TYPES = (*SCOPE_TYPES, "wait", "workflow")


def step_form(value: Any) -> str:
    """Which model a step is read with: ``action``, or its own type (also the tag in pydantic's errors)."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if kind in CONTROL_TYPES else "action"


Step = Annotated[
    Annotated[ActionStep, Tag("action")]
    | Annotated[ForeachStep, Tag("foreach")]
    | Annotated[SwitchStep, Tag("switch")]
    | Annotated[UntilStep, Tag("until")]
    | Annotated[TryStep, Tag("try")]
    | Annotated[WaitStep, Tag("wait")]
    | Annotated[CallStep, Tag("workflow")],
    Discriminator(step_form),
]
AnyStep = ActionStep | ForeachStep | SwitchStep | UntilStep | TryStep | WaitStep | CallStep


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
    name: str = Field(pattern=NAME_PATTERN)
    """The workflow's name: a-z, 0-9 and -."""
    description: str = Field(default="", max_length=10_000)
    """What the workflow does, for people."""
    input: InputSpec = InputSpec()
    """What a run takes."""
    triggers: tuple[ScheduleTrigger, ...] = Field(default=(), max_length=MAX_TRIGGERS)
    """What starts runs of the published version by itself."""
    timeout: Duration | None = None
    """The longest time for a whole run: `1h`, `2d`, …"""
    queue_timeout: Duration | None = None
    """The longest time until a run starts; one that still waits in the queue then is given up."""
    concurrency: Concurrencies | None = None
    """How many runs may run at the same time: one limit, or a list of up to five."""
    rate: Rate | None = None
    """How many runs may begin within a time."""
    debounce: Debounce | None = None
    """Of runs that come close together only the last one runs."""
    singleton: Truth = False
    """true: there is never more than one run; a start while it lives answers with that run."""
    priority: Priority = USUAL_PRIORITY
    """Which of the runs that wait come first: 0 (last) to 9, or an expression. Each minute of waiting counts as one."""
    on_error: Literal["fail", "continue"] = "fail"
    """What a step's failure does where the step itself does not say."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """The workflow's steps; those that do not need each other run at the same time."""
    output: Any = None
    """What a run gives; default: the last step's output."""


for _model in (ForeachStep, Case, Default, SwitchStep, UntilStep, Catch, Finally, TryStep, Definition):
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
    schema["$defs"]["ActionStep"]["properties"]["type"]["not"] = {"enum": [*CONTROL_TYPES, *PLANNED_STEP_TYPES]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "NexusFlow workflow", **schema}


def schema_text() -> str:
    """The published schema's file, as it must stand beside this module."""
    return json.dumps(definition_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
