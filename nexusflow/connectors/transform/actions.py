"""``transform``: a jq program over a value, run in the engine's sandbox."""

from typing import Any

from pydantic import Field

from nexusflow.connectors.base import Action, ActionModel, StepContext
from nexusflow.errors import Permanent


class TransformInput(ActionModel):
    """What to reshape, and how."""

    input: Any = Field(default=None, description="The value the program reads; default: {input, steps} of the run.")
    jq: str = Field(description="A jq program; its one result is the step's output.", min_length=1, max_length=16_384)


def transform(context: StepContext, given: TransformInput) -> Any:
    """The program's result; raises StepError where it fails or meets a limit."""
    if context.jq is None:
        raise Permanent("JQ_MISSING", "This worker cannot run jq programs.", "Run `nexusflow doctor`.", "platform")
    return context.jq(given.jq, given.input)


TRANSFORM = Action(
    name="transform",
    queue="any",
    input=TransformInput,
    output=None,
    run=transform,
    summary="Reshape data with a jq program.",
    pure=True,
)
