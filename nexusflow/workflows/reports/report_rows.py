"""What the tables say of a run's steps, in a few statements whatever the number of items."""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nexusflow.workflows.engine.outcomes import child_item
from nexusflow.workflows.planning.plan import Plan, Segment
from nexusflow.workflows.rows.signals import NEVER
from nexusflow.workflows.rows.states import STEP_TERMINAL

MAX_LOOKUPS = 20_000
FAILURES_SHOWN = 3
"""Failures told of each step; there may be thousands."""
CHILDREN_SHOWN = 5
"""Runs told of each step that calls a workflow: those that go on first, then those that failed."""

# ``level``: in how many loops the record lies; a loop's own record lies one level above its items' or iterations'.
# Those of a try's parts go by the parts' paths, which are no steps'.
COUNTS = sa.text("""
SELECT step, CASE item WHEN '' THEN 0 ELSE 1 + length(item) - length(replace(item, '.', '')) END AS level, state,
       count(*) AS records, max(attempts) AS attempts, min(started_at) AS started_at, max(finished_at) AS finished_at,
       sum(coalesce(items_count, jsonb_array_length(items))) AS items, max(cursor) AS cursor, count(kept_from) AS kept
FROM steps WHERE run_id = :run GROUP BY step, level, state
""")

FAILURES = sa.text("""
SELECT step, item, state, attempts, error FROM (
    SELECT step, item, state, attempts, error,
           row_number() OVER (PARTITION BY step, item = '' ORDER BY state = 'retrying', finished_at, item) AS place
    FROM steps WHERE run_id = :run AND error IS NOT NULL AND state IN ('failed', 'timed_out', 'cancelled', 'retrying')
) AS failing WHERE place <= :shown ORDER BY step, item = '' DESC, place
""")

LIVE = sa.text("""
SELECT segment, item, lo, hi, state, nullif(coalesce(held_due, due_at), CAST(:never AS timestamptz)) AS due_at,
       due_at > now() AS is_later, CASE WHEN signal_id IS NULL THEN event END AS event, event_key
FROM segments WHERE run_id = :run
""")

CHILDREN = sa.text("""
SELECT step, item, id, workflow, status FROM (
    SELECT r.parent_step AS step, r.parent_item AS item, r.id, w.name AS workflow, r.status,
           row_number() OVER (PARTITION BY r.parent_step ORDER BY r.finished_at IS NOT NULL,
                              r.status = 'succeeded', r.id DESC) AS place
    FROM runs r JOIN workflows w ON w.id = r.workflow_id WHERE r.parent_run = :run
) AS children WHERE place <= :shown ORDER BY step, place
""")

LOOKUP = sa.text("""
SELECT s.step, s.item, s.state FROM unnest(CAST(:steps AS text[]), CAST(:items AS text[])) AS k(step, item)
JOIN steps s ON s.run_id = :run AND s.step = k.step AND s.item = k.item
""")


@dataclass
class Records:
    """A step's records at one level: how many in each state, and what they have in common.

    ``kept``: how many of them a rerun has kept of the run that it repeats.
    """

    states: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
    items: int = 0
    cursor: int | None = None
    kept: int = 0

    @property
    def total(self) -> int:
        """How many records there are."""
        return sum(self.states.values())


@dataclass(frozen=True)
class Failure:
    """Why a step, or one item of it, failed or is tried again."""

    item: str
    state: str
    attempts: int
    error: dict[str, Any]


@dataclass(frozen=True)
class Live:
    """A step that runs, may run now, or later, or waits. ``recorded``: the state of its record, if it has one.

    ``due_at``: from when it may go on (None: it is not known when); ``is_later``: that is still to come.
    ``event`` and ``key``: what a wait waits for, until then.
    """

    step: str
    item: str
    is_running: bool
    recorded: str | None
    due_at: datetime.datetime | None
    is_later: bool = False
    event: str | None = None
    key: str = ""


@dataclass(frozen=True)
class ChildRun:
    """A run that a step started, at an item."""

    id: str
    workflow: str
    status: str
    item: str


@dataclass(frozen=True)
class RunRecords:
    """All that is read of a run's steps; ``children``: a few of the runs that each step started."""

    counts: dict[tuple[str, int], Records]
    failures: dict[str, list[Failure]]
    live: list[Live]
    children: dict[str, list[ChildRun]] = field(default_factory=dict)


def read_records(connection: sa.Connection, plan: Plan, run: str) -> RunRecords:
    """Read the steps of a run, in the caller's transaction."""
    # What is live comes first: read the other way round, a step could be neither live any more nor recorded yet.
    live = _read_live(connection, plan, run)
    counts: dict[tuple[str, int], Records] = defaultdict(Records)
    failing = False
    for row in connection.execute(COUNTS, {"run": run}):
        _add(counts[row.step, row.level], row)
        failing = failing or row.state in ("failed", "timed_out", "cancelled", "retrying")
    failures: dict[str, list[Failure]] = defaultdict(list)
    if failing:
        for row in connection.execute(FAILURES, {"run": run, "shown": FAILURES_SHOWN}):
            failures[row.step].append(Failure(row.item, row.state, row.attempts, row.error))
    return RunRecords(dict(counts), dict(failures), live, _read_children(connection, plan, run))


def _read_children(connection: sa.Connection, plan: Plan, run: str) -> dict[str, list[ChildRun]]:
    found: dict[str, list[ChildRun]] = defaultdict(list)
    if plan.calls:
        for row in connection.execute(CHILDREN, {"run": run, "shown": CHILDREN_SHOWN}):
            found[row.step].append(ChildRun(str(row.id), row.workflow, row.status, row.item))
    return dict(found)


def _add(records: Records, row: Any) -> None:
    records.states[row.state] = row.records
    records.attempts = max(records.attempts, row.attempts)
    records.started_at = _pick(min, records.started_at, row.started_at)
    records.finished_at = _pick(max, records.finished_at, row.finished_at)
    records.items += int(row.items or 0)
    records.kept += row.kept
    records.cursor = row.cursor if row.cursor is not None else records.cursor


def _pick(choose: Any, *times: datetime.datetime | None) -> datetime.datetime | None:
    known = [time for time in times if time is not None]
    return choose(known) if known else None


def _read_live(connection: sa.Connection, plan: Plan, run: str) -> list[Live]:
    found = list(connection.execute(LIVE, {"run": run, "never": NEVER}))
    waits = [wait for row in found for wait in _waits(plan, row)]
    rows = [row for row in found if _steps_of(plan.segments[row.segment])]
    keys = [key for row in rows for key in _keys(plan, row)][:MAX_LOOKUPS]
    states: dict[tuple[str, str], str] = {}
    if keys:
        asked = {"run": run, "steps": [key[0] for key in keys], "items": [key[1] for key in keys]}
        states = {(row.step, row.item): row.state for row in connection.execute(LOOKUP, asked)}
    return [*waits, *(live for row in rows for live in _live(plan, row, states))]


def _steps_of(segment: Segment) -> list[str]:
    return [op.path for op in segment.ops if op.kind in ("step", "open")]


def _waits(plan: Plan, row: Any) -> Iterable[Live]:
    """The wait that this row ends when it is due."""
    op = plan.segments[row.segment].ops[-1]
    if op.kind == "close" and plan.steps[op.path].spec["type"] == "wait":
        yield Live(op.path, row.item, False, "waiting", row.due_at, row.is_later, row.event, row.event_key or "")


def _items_of(row: Any) -> list[str]:
    return [child_item(row.item, index) for index in range(row.lo, row.hi)] if row.hi > row.lo else [row.item]


def _keys(plan: Plan, row: Any) -> Iterable[tuple[str, str]]:
    segment = plan.segments[row.segment]
    for item in _items_of(row):
        yield from ((step, item) for step in _steps_of(segment))
        if row.hi > row.lo:
            yield segment.scope, item


def _live(plan: Plan, row: Any, states: dict[tuple[str, str], str]) -> Iterable[Live]:
    """The first step without an outcome, of the first item without one.

    A pure step's record waits for that of the next effectful one. So where one of those follows, it is taken to be what
    runs: the pure ones before it take moments.
    """
    segment = plan.segments[row.segment]
    for item in _items_of(row):
        if row.hi > row.lo and states.get((segment.scope, item)) in STEP_TERMINAL:
            continue
        for step in _steps_of(segment):
            recorded = states.get((step, item))
            if recorded in STEP_TERMINAL or recorded in ("running", "waiting"):
                continue
            if row.state == "leased" and recorded is None and plan.steps[step].pure:
                effect = _next_effect(plan, segment, step)
                if effect is not None and states.get((effect, item)) not in STEP_TERMINAL:
                    yield Live(effect, item, True, states.get((effect, item)), row.due_at)
                    return
            yield Live(step, item, row.state == "leased", recorded, row.due_at, row.is_later)
            return


def _next_effect(plan: Plan, segment: Segment, step: str) -> str | None:
    """The first step behind this one in its segment that is not pure; None where a scope is opened before it."""
    ops = segment.ops[[op.path for op in segment.ops].index(step) + 1 :]
    for op in ops:
        if op.kind != "step":
            return None
        if not plan.steps[op.path].pure:
            return op.path
    return None
