"""``fail``: the error that the author wrote."""

from typing import Any

from pydantic import Field

from nexusflow.connectors.base import Action, ActionModel, StepContext
from nexusflow.errors import Permanent


class FailInput(ActionModel):
    """The error to fail with."""

    message: str = Field(description="What went wrong, for people.", min_length=1, max_length=2_000)
    code: str = Field(
        default="FAILED",
        description="The error's code, by which a catch knows it: capital letters, digits and _.",
        pattern=r"^[A-Z][A-Z0-9_]{0,62}$",
    )
    hint: str = Field(default="", description="What to do about it.", max_length=2_000)
    details: Any = Field(default=None, description="Data that belongs to it.")


def fail(_context: StepContext, given: FailInput) -> Any:
    """Raise Permanent with the author's words."""
    raise Permanent(given.code, given.message, given.hint, cause="user", details=given.details)


FAIL = Action(
    name="fail",
    queue="any",
    input=FailInput,
    output=None,
    run=fail,
    summary="Fail with an error of your own.",
    pure=True,
)
