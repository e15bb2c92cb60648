"""Lists of runs: filtered, sorted, in pages.

Indexes of their own serve workflow, status, cause, parent and time. A text and a trigger are looked for among the
newest 20,000 runs that fit the rest; the next cursor goes on behind them.
"""

import datetime
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.storage import ObjectMissing, StorageAway
from nexusflow.workflows.reports.redaction import redaction_of
from nexusflow.workflows.reports.runs_query import CAUSES, MAX_MESSAGE, SORTS, STATUSES, TRIGGERS, RunsQuery
from nexusflow.workflows.rows.paging import MAX_PER_PAGE, MAX_TOTAL, Page, check_page, check_text

__all__ = ["CAUSES", "SORTS", "STATUSES", "TRIGGERS", "Page", "RunLine", "list_runs", "matching_runs"]


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
    rerun_of: str | None = None


def list_runs(
    tenant: str,
    *,
    workflow: str | None = None,
    status: Collection[str] | None = None,
    cause: str | None = None,
    trigger: str | None = None,
    parent: str | None = None,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    text: str | None = None,
    sort: str = "-accepted_at",
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[RunLine]:
    """A page of runs, also of deleted workflows'. Raises InvalidInput.

    ``cause``: of those that ended badly. ``parent``: the run whose steps called them. ``since`` and ``until``: when
    they were accepted. Sorted by ``finished_at`` are those that are over. ``text``: how an id or an Idempotency-Key
    begins, or in a workflow's name or an error.
    """
    query = RunsQuery(tenant, sort, check_page(page, per_page), per_page)
    query.keep(workflow, status, cause, since, until, parent)
    query.look_for(check_text(text), trigger)
    query.go_on(cursor)
    with tenant_session(tenant) as session:
        session.execute(sa.text("SET LOCAL plan_cache_mode = force_custom_plan"))  # a plan for this tenant's share
        rows = session.execute(sa.text(query.rows()), query.values).all()
        total = session.execute(sa.text(query.count()), query.values).scalar_one()
        last = session.execute(sa.text(query.end_of_window()), query.values).first() if query.sought else None
    items = [_line(tenant, row) for row in rows[:per_page]]
    following = None
    if len(rows) > per_page:
        following = query.cursor(rows[per_page - 1])
    elif last is not None:
        following = query.cursor(last)
    is_capped = total > MAX_TOTAL or last is not None
    return Page(items, page, per_page, min(total, MAX_TOTAL), is_capped, following)


def matching_runs(tenant: str, limit: int, **filters: Any) -> list[RunLine]:
    """The first runs that fit the filters of ``list_runs``, the oldest first. Raises InvalidInput."""
    found: list[RunLine] = []
    cursor = None
    while len(found) < limit:
        count = min(limit - len(found), MAX_PER_PAGE)
        page = list_runs(tenant, **filters, sort="accepted_at", per_page=count, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _line(tenant: str, row: Any) -> RunLine:
    message = _message(tenant, row)
    return RunLine(
        id=str(row.id),
        workflow_id=str(row.workflow_id),
        workflow=row.workflow,
        version=row.version,
        status=row.status,
        ending=row.ending if row.finished_at is None else None,
        cause=row.cause,
        trigger=row.trigger,
        error_code=row.error_code,
        error_message=message[:MAX_MESSAGE] if message is not None else None,
        accepted_at=row.accepted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        seconds=max(0.0, ((row.finished_at or row.read_at) - row.accepted_at).total_seconds()),
        rerun_of=str(row.rerun_of) if row.rerun_of is not None else None,
    )


def _message(tenant: str, row: Any) -> str | None:
    """A run's error without what is sensitive; none where it cannot be told what is."""
    message: str | None = row.error_message
    if message is None or not row.is_sensitive:
        return message
    try:
        return redaction_of(tenant, str(row.id)).text(message)
    except (ObjectMissing, StorageAway):
        return None
