"""Lists of runs: filtered, sorted, in pages, from indexes alone where there is no text to look for."""

import datetime
from collections.abc import Collection
from dataclasses import dataclass

from nexusflow.workflows.paging import Page

__all__ = ["Page", "RunLine", "list_runs"]


@dataclass(frozen=True)
class RunLine:
    """A run in a list, without its input and output; ``seconds`` since it was accepted, or in all."""

    id: str
    workflow_id: str
    workflow: str
    version: int
    status: str
    ending: str | None
    cause: str | None
    trigger: str
    error_code: str | None
    error_message: str | None
    accepted_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float


def list_runs(
    tenant: str,
    *,
    workflow: str | None = None,
    status: Collection[str] | None = None,
    cause: str | None = None,
    trigger: str | None = None,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    text: str | None = None,
    sort: str = "-accepted_at",
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[RunLine]:
    """A page of runs. Raises InvalidInput."""
    return Page([], page, per_page, 0)
