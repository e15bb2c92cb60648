"""What one reads of runs: a summary, the steps with their states, the events. Doors call these and nothing below.

A foreach of ten thousand items is read as counts a step: no item's output is loaded. What the workflow's schema marks
as sensitive in the input is masked in all of it.
"""

import datetime
import re
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, NotFound
from nexusflow.schemas import mask
from nexusflow.workflows.reports.redaction import Redaction, redaction_of
from nexusflow.workflows.reports.report_rows import read_records
from nexusflow.workflows.reports.report_steps import StepReport, derive_steps
from nexusflow.workflows.reports.turn import Turn, read_turn
from nexusflow.workflows.rows import values
from nexusflow.workflows.rows.plans import plan_of
from nexusflow.workflows.rows.states import RUN_TERMINAL

MIN_ID_PREFIX = 8
MAX_EVENTS = 1_000

_HEAD = """
SELECT r.id, r.status, r.ending, r.cause, r.error, r.accepted_at, r.started_at, r.finished_at, r.version_id,
       r.workflow_id, r.trigger, r.parent_run, r.parent_step, r.parent_item, r.mock, r.rerun_of, r.rerun_from,
       w.name AS workflow, v.number AS version, now() AS read_at,
       ARRAY(SELECT n.id FROM runs n WHERE n.rerun_of = r.id ORDER BY n.id DESC LIMIT 20) AS reruns
       {more}
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.id = :run
"""
HEAD = sa.text(_HEAD.format(more=""))
HEAD_WITH_DATA = sa.text(
    _HEAD.format(more=", r.input, r.input_at, r.output, r.output_at, v.config -> 'input' -> 'schema' AS schema")
)
EVENTS = sa.text("""
SELECT at, type, step, item, data FROM run_events
WHERE run_id = :run AND (:everything OR coalesce(item, '') = '' OR type <> 'step.succeeded')
ORDER BY id DESC LIMIT :limit
""")
BY_PREFIX = sa.text("SELECT id FROM runs WHERE id BETWEEN :low AND :high ORDER BY id DESC LIMIT 5")


@dataclass(frozen=True)
class RunSummary:
    """A run: its status, and once it is over its output or its error.

    ``ending``: the bad end it is on its way to, while its last steps finish. ``cause``: who has to act (user,
    provider, platform). ``seconds``: since it was accepted, or in all. ``parent``: ``{run_id, step, item}`` of the step
    that called it. ``mock``: it was started with its steps' mocks.
    ``waits_for``: why it has not begun yet.
    ``rerun_of``: the run that it repeats, from ``rerun_from`` on; ``reruns``: those that repeat it, the newest first.
    """

    id: str
    workflow: str
    version: int
    status: str
    ending: str | None
    cause: str | None
    error: dict[str, Any] | None
    input: Any
    output: Any
    accepted_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    seconds: float
    workflow_id: str = ""
    trigger: str = "cli"
    parent: dict[str, Any] | None = None
    mock: bool = False
    waits_for: Turn | None = None
    rerun_of: str | None = None
    rerun_from: str | None = None
    reruns: tuple[str, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in RUN_TERMINAL


@dataclass(frozen=True)
class RunReport:
    """A run with its steps, in the plan's order; ``version_id`` names the plan."""

    run: RunSummary
    steps: tuple[StepReport, ...]
    version_id: str = ""


@dataclass(frozen=True)
class EventReport:
    """One line of a run's log: ``run.accepted``, ``step.failed``, … with the step and item it is about, if any."""

    at: datetime.datetime
    type: str
    step: str | None
    item: str | None
    data: dict[str, Any]


def read_run(tenant: str, run: str, *, whole: bool = False) -> RunReport:
    """The report of a run. ``whole``: with its input and output even where they are large; else a note of their size.

    Raises NotFound, ClusterUnusable.
    """
    return _read(tenant, run, with_data=True, whole=whole)


def read_progress(tenant: str, run: str) -> RunReport:
    """The report without input and output (both None): cheap enough to be asked for several times a second.

    Raises NotFound, ClusterUnusable.
    """
    return _read(tenant, run, with_data=False)


def _read(tenant: str, run: str, *, with_data: bool, whole: bool = False) -> RunReport:
    with tenant_session(tenant) as connection:
        head = connection.execute(HEAD_WITH_DATA if with_data else HEAD, {"run": run}).mappings().first()
        if head is None:
            raise NotFound(f"There is no run {run}.", "Check the id: it must be one of this tenant's.")
        version = str(head["version_id"])
        plan = plan_of(tenant, version)
        records = read_records(connection, plan, run)
    tells_data = with_data or head["error"] is not None or records.failures or any(each.key for each in records.live)
    redaction = redaction_of(tenant, run) if tells_data else Redaction()
    show = values.whole if whole else values.shown
    given, output = (show(tenant, head.get(name), head.get(f"{name}_at")) for name in ("input", "output"))
    summary = _summary(head, redaction, given, output)
    if summary.status == "queued" and summary.ending is None:
        summary = replace(summary, waits_for=_turn(tenant, run, summary.workflow))
    return RunReport(
        summary, derive_steps(plan, redaction.records(records), is_over=summary.is_terminal, mock=summary.mock), version
    )


def _turn(tenant: str, run: str, workflow: str) -> Turn | None:
    """What the run waits for, without what is sensitive in its keys."""
    turn = read_turn(tenant, run, workflow)
    return turn and replace(turn, message=redaction_of(tenant, run).value(turn.message))


def _summary(head: sa.RowMapping, redaction: Redaction, given: Any, output: Any) -> RunSummary:
    end = head["finished_at"] or head["read_at"]
    return RunSummary(
        id=str(head["id"]),
        workflow=head["workflow"],
        version=head["version"],
        status=head["status"],
        ending=head["ending"] if head["finished_at"] is None else None,
        cause=head["cause"],
        error=redaction.error(head["error"]),
        input=redaction.value(mask(head.get("schema") or {}, given)) if given is not None else None,
        output=redaction.value(output),
        accepted_at=head["accepted_at"],
        started_at=head["started_at"],
        finished_at=head["finished_at"],
        seconds=max(0.0, (end - head["accepted_at"]).total_seconds()),
        workflow_id=str(head["workflow_id"]),
        trigger=head["trigger"],
        parent=_parent(head),
        mock=head["mock"],
        rerun_of=str(head["rerun_of"]) if head["rerun_of"] is not None else None,
        rerun_from=head["rerun_from"],
        reruns=tuple(str(each) for each in head["reruns"]),
    )


def _parent(head: sa.RowMapping) -> dict[str, Any] | None:
    if head["parent_run"] is None:
        return None
    return {"run_id": str(head["parent_run"]), "step": head["parent_step"], "item": head["parent_item"] or None}


def read_events(tenant: str, run: str, limit: int = 20, *, everything: bool = True) -> list[EventReport]:
    """A run's latest events, oldest first; without ``everything``, the successes of single items are left out."""
    with tenant_session(tenant) as connection:
        rows = connection.execute(EVENTS, {"run": run, "limit": min(limit, MAX_EVENTS), "everything": everything}).all()
    redaction = redaction_of(tenant, run) if any(row.data for row in rows) else Redaction()
    return [
        EventReport(row.at, row.type, row.step, row.item or None, redaction.event(row.data or {}))
        for row in reversed(rows)
    ]


def find_run(tenant: str, name: str) -> str:
    """The run whose id is this, or begins so (8 characters at least). Raises InvalidInput, NotFound."""
    given = name.strip().lower()
    digits = given.replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits) or len(digits) < MIN_ID_PREFIX:
        raise InvalidInput(
            f"'{name[:60]}' is no run's id.",
            f"Give the id that `nexusflow run` printed, or its first {MIN_ID_PREFIX} characters or more.",
        )
    bounds = {"low": digits.ljust(32, "0"), "high": digits.ljust(32, "f")}
    with tenant_session(tenant) as connection:
        found = [str(row.id) for row in connection.execute(BY_PREFIX, bounds)]
    if not found:
        raise NotFound(f"There is no run {given}.", "Check the id, the folder you are in, and NEXUSFLOW_TENANT.")
    if len(found) > 1:
        shown = ", ".join(found[:3])
        raise InvalidInput(f"More than one run's id begins with {given}: {shown}.", "Give more of the id.")
    return found[0]
