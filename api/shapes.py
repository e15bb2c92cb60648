"""What requests may hold and what answers hold, as models: requests are checked by them, answers described.

Answers are built by ``views.py`` and not checked again on their way out; a test holds the two together.
"""

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_NUMBER = 2**31 - 1
RUN_ID = "0199f0a3-7c1e-7b52-9d0e-3f6b1a2c4d5e"
WORKFLOW_ID = "0199f0a1-2b4c-7d8e-8f90-a1b2c3d4e5f6"
SOURCE = """\
nexusflow: "1"
name: hello
steps:
  - { id: greet, type: transform, with: { jq: '"Hello " + .input.who' } }
"""


class RequestModel(BaseModel):
    """Unknown fields are refused, and no value is turned into another."""

    model_config = ConfigDict(extra="forbid", strict=True)


class GivenDefinition(RequestModel):
    """A workflow definition: the author's text, or as JSON."""

    source: str | None = Field(None, description="The definition's text, YAML or JSON, kept as written.")
    definition: dict[str, Any] | None = Field(None, description="The definition as JSON, instead of `source`.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "GivenDefinition":
        if (self.source is None) == (self.definition is None):
            raise ValueError("Give either 'source' (a text) or 'definition' (an object).")
        return self


class SaveWorkflow(GivenDefinition):
    """A definition to save."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": SOURCE, "publish": True}]})

    publish: bool = Field(False, description="Also make this version the one that runs, and its triggers live.")


class PublishWorkflow(RequestModel):
    """Which version to publish."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 3}]})

    version: int | None = Field(None, ge=1, le=MAX_NUMBER, description="Default: the newest.")


class StartRun(RequestModel):
    """A run to start."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": {"who": "Ada"}}]})

    input: dict[str, Any] = Field(default_factory=dict, description="Must fit the workflow's `input.schema`.")
    version: int | None = Field(None, ge=1, le=MAX_NUMBER, description="Default: the published one, else the newest.")
    mock: bool = Field(False, description="Steps with a `mock` are not done, but give what it says.")


class StartBatch(RequestModel):
    """Runs to start, all or none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": [{"who": "Ada"}, {"who": "Grace"}]}]})

    inputs: list[dict[str, Any]] = Field(min_length=1, max_length=1000, description="One input for each run.")
    version: int | None = Field(None, ge=1, le=MAX_NUMBER)
    mock: bool = Field(False, description="Steps with a `mock` are not done, but give what it says.")


class RerunRun(RequestModel):
    """How to repeat a run."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"from": "failed", "version": "latest"}]})

    from_: str | None = Field(
        None,
        alias="from",
        min_length=1,
        max_length=1_000,
        description="`failed`: what did not succeed. `start`: all of it. A step's path: it, and what comes after it."
        " Default: `failed`; with `input`, `start`.",
    )
    version: int | Literal["latest"] | None = Field(
        None, description="A number, or `latest`. Default: the run's own.", examples=["latest"]
    )
    input: dict[str, Any] | None = Field(None, description="Another input than the run had; from the start only.")

    @field_validator("version", mode="before")
    @classmethod
    def _version(cls, given: Any) -> Any:
        is_number = isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MAX_NUMBER
        if given not in (None, "latest") and not is_number:
            raise ValueError("It must be a version's number, or latest.")
        return given


class Nothing(RequestModel):
    """An empty object, or no body at all."""


class WorkflowView(BaseModel):
    """A saved workflow."""

    id: str = Field(examples=[WORKFLOW_ID])
    name: str = Field(examples=["hello"])
    description: str
    status: str = Field(description="draft, published or archived.", examples=["published"])
    published_version: int | None = Field(description="The version that runs and whose triggers are live.")
    latest_version: int
    created_at: datetime.datetime
    updated_at: datetime.datetime


class VersionView(BaseModel):
    """One immutable version."""

    id: str
    number: int
    digest: str
    is_published: bool
    created_at: datetime.datetime


class WorkflowDetailView(WorkflowView):
    """A workflow with one of its versions."""

    version: VersionView
    source: str = Field(description="The author's text.", examples=[SOURCE])
    definition: dict[str, Any] = Field(description="The definition as JSON, without what is default.")
    input_schema: dict[str, Any] = Field(description="The JSON Schema of a run's input.")


class StepChangeView(BaseModel):
    """A step that differs."""

    path: str = Field(description="The step's path; empty for the workflow itself.")
    change: str = Field(description="added, removed or changed.")
    fields: list[str]


class DiffView(BaseModel):
    """What differs between two versions."""

    from_: int = Field(alias="from")
    to: int
    text: str = Field(description="A unified diff of the texts.")
    steps: list[StepChangeView]


class ProblemView(BaseModel):
    """One problem of a definition, and its place."""

    path: str = Field(description="A JSON Pointer into the definition.", examples=["/steps/0/type"])
    line: int | None
    column: int | None
    code: str = Field(examples=["UNKNOWN_TYPE"])
    message: str
    hint: str


class ValidationView(BaseModel):
    """Whether a definition can be saved."""

    valid: bool
    name: str | None
    problems: list[ProblemView]


class PlanView(BaseModel):
    """What a definition compiles to."""

    name: str
    format: str
    plan: Any = Field(description="A text, or an object for `format=json`.")


class AcceptedRun(BaseModel):
    """A run that is durable and will be done."""

    id: str = Field(examples=[RUN_ID])
    workflow_id: str = Field(examples=[WORKFLOW_ID])
    status: str = Field(examples=["queued"])


class RerunView(AcceptedRun):
    """A run that repeats another one."""

    rerun_of: str = Field(examples=[RUN_ID])
    from_: str = Field(alias="from", examples=["failed"])
    version: int
    kept: int = Field(description="How many records of that run it begins with.")


class ManyRunsItem(BaseModel):
    """What became of one of many runs."""

    run_id: str = Field(examples=[RUN_ID])
    id: str | None = Field(description="The run that repeats it.")
    status: str | None
    error: dict[str, Any] | None = Field(description="Why nothing was done: `code`, `message`, `hint`.")
    preview: dict[str, Any] | None = Field(description="Of a dry run.")
    was_over: bool = Field(False, description="It was over before it could be cancelled.")


class ManyRunsView(BaseModel):
    """What became of many runs."""

    dry_run: bool
    matched: int
    done: int
    refused: int
    effects: list[dict[str, Any]] = Field(description="Of a dry run: what all of them would do outside, in numbers.")
    runs: list[ManyRunsItem]


class RunLineView(BaseModel):
    """A run in a list."""

    id: str = Field(examples=[RUN_ID])
    workflow_id: str = Field(examples=[WORKFLOW_ID])
    workflow: str = Field(examples=["hello"])
    version: int
    status: str = Field(description="queued, running, paused, succeeded, failed, cancelled or timed_out.")
    ending: str | None = Field(description="The bad end it is on its way to, while its last steps finish.")
    cause: str | None = Field(description="Who has to act: user, provider or platform.")
    trigger: str = Field(description="api, cli, page, schedule, workflow or rerun.")
    error_code: str | None
    error_message: str | None
    accepted_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float = Field(description="Since it was accepted, or in all.")
    rerun_of: str | None = Field(description="The run that it repeats.")


class TurnView(BaseModel):
    """What a run waits for before it begins."""

    reason: str = Field(description="slot, rate, debounce, tenant or worker.")
    message: str
    before: int = Field(description="How many runs (for a worker: segments) are before it.")
    seconds: float | None = Field(description="About how long it will be, from the last runs; null: it cannot be told.")


class RunView(BaseModel):
    """A run; what its workflow's schema marks as sensitive is masked."""

    id: str = Field(examples=[RUN_ID])
    workflow_id: str = Field(examples=[WORKFLOW_ID])
    workflow: str
    version: int
    status: str
    ending: str | None
    cause: str | None
    trigger: str
    parent: dict[str, Any] | None = Field(description="`{run_id, step, item}` of the step that called it.")
    mock: bool = Field(description="Whether it was started with its steps' mocks.")
    error: dict[str, Any] | None
    input: Any
    output: Any
    accepted_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float
    waits_for: TurnView | None = Field(description="Why it has not begun yet, while it is queued.")
    rerun_of: str | None = Field(description="The run that it repeats, from `rerun_from` on.")
    rerun_from: str | None
    reruns: list[str] = Field(description="The runs that repeat it, the newest first.")


class StepView(BaseModel):
    """A step of a run; inside a loop, of all its items or iterations."""

    step: str = Field(description="Its path: the ids of the steps it lies in, and its own.", examples=["each/put"])
    type: str
    nesting: int
    state: str = Field(
        description="pending, ready, running, waiting, retrying, succeeded, failed, skipped, blocked, cancelled or"
        " timed_out."
    )
    attempts: int
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float | None
    counts: dict[str, int] | None = Field(description="Inside a loop: how many items or iterations are in each state.")
    items: dict[str, int] | None = Field(description="Of a foreach: how many items are done, failed, and in all.")
    iterations: dict[str, int | None] | None = Field(
        description="Of an until: how many iterations are done, and the most there may be (null inside of a loop)."
    )
    branch: str | None
    errors: list[dict[str, Any]] = Field(description="`{item, error}`: the first few, or why it is tried again.")
    retry_at: datetime.datetime | None
    waits_until: datetime.datetime | None = Field(
        description="When a wait is over, or the next iteration of an until begins."
    )
    runs: list[dict[str, Any]] = Field(
        description="`{id, workflow, status, item}`: the first few runs that it called; those that go on come first."
    )
    waits_for: dict[str, Any] | None = Field(
        description="The event that a wait waits for (at most until `waits_until`): `{event, keys, waiting}`; the first"
        " few keys, and how many items wait."
    )
    note: str | None = Field(description="Why it never ran, why it was stopped, or that it was undone.")


class ChangedRun(BaseModel):
    """A run that was asked to end, to pause or to go on."""

    id: str
    status: str = Field(description="Its status now; one that is cancelled says so once nothing of it runs.")


class FileView(BaseModel):
    """A kept file: this very object is the value to give as input."""

    file: str = Field(alias="$file", examples=[RUN_ID])
    name: str = Field(examples=["leads.csv"])
    size: int
    sha256: str
    media_type: str = Field(examples=["text/csv"])


class ActionView(BaseModel):
    """Something a step can do: its name is the step's `type`."""

    name: str = Field(examples=["http.request"])
    summary: str
    queue: str
    connection: str | None = Field(description="The account it uses by default; null where it uses none.")
    pure: bool
    input: dict[str, Any] = Field(description="The JSON Schema of the step's `with`.")
    output: dict[str, Any] = Field(description="The JSON Schema of its output; empty where it can be anything.")
