"""A test file as pydantic models: a workflow, and cases of input, mocked answers and what is expected."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from nexusflow.workflows.language.words import Count, Truth, Word

CODE_PATTERN = r"^[A-Z][A-Z0-9_]{0,99}$"
UNFINISHED = "running"
"""The status of a rehearsed run in which a step never answers."""

RunStatus = Literal["succeeded", "failed", "timed_out", "running"]
StepState = Literal["succeeded", "failed", "skipped", "blocked", "cancelled", "timed_out", "running", "waiting"]
Cause = Literal["user", "provider", "platform"]


class MockedError(Word):
    """An error that an action gives."""

    code: str = Field(pattern=CODE_PATTERN)
    """The error's code, such as `HTTP_STATUS` or `STEP_TIMED_OUT`."""
    message: str = Field(default="", max_length=65_536)
    """What went wrong, for people."""
    cause: Cause = "provider"
    """Who has to act: user, provider or platform."""
    transient: Truth = False
    """Whether trying again may help; without rules of its own, a step tries only such errors again."""
    hint: str = Field(default="", max_length=65_536)
    """What to do about it."""
    details: Any = None
    """Data that belongs to it."""


class MockedAnswer(Word):
    """What one call of a step gives: one of the three."""

    output: Any = None
    """The step's output."""
    error: MockedError | None = None
    """The error it fails with."""
    never: Truth = False
    """true: it does not answer, so that the run is still `running` at the end of the case."""


class ExpectedError(Word):
    """What the run's error must be; what is not written is not looked at."""

    code: str | None = None
    """Its code."""
    message: str | None = None
    """Its text."""
    cause: Cause | None = None
    """Who has to act."""
    step: str | None = None
    """The path of the step that failed."""
    item: str | None = None
    """Its place in the loops around: `"3"`, or `"3.0"`."""
    hint: str | None = None
    """What to do about it."""


def _form(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Answers = Annotated[
    Annotated[MockedAnswer, Tag("one")] | Annotated[tuple[MockedAnswer, ...], Field(min_length=1), Tag("several")],
    Discriminator(_form),
]
Calls = Annotated[
    Annotated[Count, Field(ge=0), Tag("one")] | Annotated[tuple[dict[str, Any], ...], Tag("several")],
    Discriminator(_form),
]


class Expected(Word):
    """What must come of a case; what is not written is not looked at."""

    status: RunStatus | None = None
    """How the run ends; `running`: it does not, because a step never answers."""
    output: Any = None
    """The run's output, all of it."""
    error: ExpectedError | None = None
    """The run's error."""
    steps: dict[str, StepState | None] = Field(default_factory=dict)
    """The states of steps by path (`each/put`: of every item, `each/put[3]`: of one); null: it did not run."""
    attempts: dict[str, Count] = Field(default_factory=dict)
    """How often steps were tried."""
    order: tuple[str | tuple[str, ...], ...] = ()
    """Steps that come one after the other, each over before the next begins; or a list of such lists."""
    calls: dict[str, Calls] = Field(default_factory=dict)
    """How often a step called its action, or with which inputs, in their order; fields not written are not compared."""


class Case(Word):
    """One run of the workflow, rehearsed."""

    name: str = Field(min_length=1, max_length=200)
    """What the case shows."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The run's input."""
    run_id: str = Field(default="00000000-0000-7000-8000-000000000000", max_length=36, min_length=36)
    """What `run.id` is in expressions."""
    mocks: dict[str, Answers] = Field(default_factory=dict)
    """Answers of steps by path: one for every call, or a list of them in the order of the calls."""
    expect: Expected = Expected()
    """What must come of it."""


class TestFile(Word):
    """A file of cases about one workflow."""

    __test__ = False  # no test of pytest's

    nexusflow: Literal["1"]
    """The version of the language: "1"."""
    workflow: str | dict[str, Any]
    """The workflow's file, by its path from this one; or the definition itself."""
    cases: tuple[Case, ...] = Field(min_length=1, max_length=1_000)
    """What is rehearsed."""
