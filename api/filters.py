"""Which runs are meant: the same words for a list of them, and for what is done to many."""

import re
import uuid
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from api.errors import RequestInvalid
from nexusflow.errors import InvalidInput, NotFound, Problem
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.saved.library import find_workflow

Cause = Literal["user", "provider", "platform"]
Trigger = Literal["api", "cli", "page", "schedule", "workflow", "rerun"]
STATUSES = ("queued", "running", "paused", "succeeded", "failed", "cancelled", "timed_out")


class RunFilter(BaseModel):
    """Which runs."""

    model_config = ConfigDict(extra="forbid")

    workflow: str | None = Field(None, min_length=1, max_length=200, description="A workflow's id, or its name.")
    status: list[str] | None = Field(
        None,
        description="One or several (`status=failed&status=timed_out`, or with commas).",
        json_schema_extra={"items": {"type": "string", "enum": list(STATUSES)}},
    )
    cause: Cause | None = Field(None, description="Who has to act.")
    trigger: Trigger | None = Field(None, description="What started it.")
    parent: uuid.UUID | None = Field(None, description="Those that this run's steps called.")
    since: AwareDatetime | None = Field(None, description="Accepted at this time or later; with a zone.")
    until: AwareDatetime | None = Field(None, description="Accepted before this time; with a zone.")
    text: str | None = Field(
        None, max_length=200, description="The begin of an id, or in the workflow's name, the error or the key."
    )

    @field_validator("status")
    @classmethod
    def _known(cls, given: list[str] | None) -> list[str] | None:
        found = [word for each in given or () for word in each.split(",") if word]
        unknown = [word for word in found if word not in STATUSES]
        if unknown:
            raise ValueError(f"There is no status {unknown[0][:40]}; there are {', '.join(STATUSES)}")
        return found or None

    @field_validator("since", "until", mode="before")
    @classmethod
    def _time(cls, given: Any) -> Any:
        """A bare number is no time here, or 2026 were 34 minutes of 1970; an unescaped plus has become a space."""
        if not isinstance(given, str) or "-" not in given[1:]:
            return "no time"
        return re.sub(r" (\d\d:?\d\d)$", r"+\1", given)


def meant(tenant: str, given: RunFilter, place: str) -> dict[str, Any]:
    """The filter as lists take it; ``place``: where a workflow's name stands. Raises RequestInvalid."""
    found = given.model_dump(include=set(RunFilter.model_fields))
    if given.workflow and not is_id(given.workflow):
        try:
            found["workflow"] = find_workflow(tenant, given.workflow)
        except (NotFound, InvalidInput) as error:
            raise RequestInvalid([Problem(place, None, None, "INVALID_VALUE", error.message, error.hint)]) from None
    if given.status is not None:
        found["status"] = set(given.status)
    if given.parent is not None:
        found["parent"] = str(given.parent)
    return found
