"""The words that bound runs: how many at once, how often, after which pause, and which come first."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from nexusflow.workflows.language.words import Count, Duration, Word

MAX_LIMITS = 5
MAX_SLOTS = 10_000
TOP_PRIORITY = 9
USUAL_PRIORITY = 5


class Concurrency(Word):
    """How many runs of the workflow may run at the same time."""

    limit: Count = Field(ge=1, le=MAX_SLOTS)
    """The most runs at the same time."""
    key: str | None = Field(default=None, max_length=1_000)
    """What is counted apart, such as `${{ input.customer }}`: so many runs for each value. Default: all together."""
    when_full: Literal["queue", "refuse", "replace", "reuse"] = "queue"
    """queue: a further run waits. refuse: it is not accepted (`LIMIT_REACHED`). replace: the oldest one is cancelled.
    reuse: with `limit: 1`, the start answers with the run that is there."""


class Rate(Word):
    """How many runs of the workflow may begin within a time."""

    limit: Count = Field(ge=1, le=MAX_SLOTS)
    """The most runs that begin within `per`; a further one waits."""
    per: Duration
    """The time: in none of this length do more begin."""
    key: str | None = Field(default=None, max_length=1_000)
    """What is counted apart, as in `concurrency`."""


class Debounce(Word):
    """Runs that come close together: only the last one runs."""

    wait: Duration
    """How long a run waits for a later one, which takes its place and waits as long."""
    key: str | None = Field(default=None, max_length=1_000)
    """What belongs together, as in `concurrency`."""


def _concurrency_form(value: object) -> str:
    return "limits" if isinstance(value, list | tuple) else "limit"


Concurrencies = Annotated[
    Annotated[Concurrency, Tag("limit")]
    | Annotated[tuple[Concurrency, ...], Field(min_length=1, max_length=MAX_LIMITS), Tag("limits")],
    Discriminator(_concurrency_form),
]


def _priority_form(value: object) -> str:
    return "expression" if isinstance(value, str) else "number"


Priority = Annotated[
    Annotated[Annotated[Count, Field(ge=0, le=TOP_PRIORITY)], Tag("number")] | Annotated[str, Tag("expression")],
    Discriminator(_priority_form),
]
