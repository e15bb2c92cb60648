"""What the database holds of a run, as tests read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.workflows.rows import models


@dataclass(frozen=True)
class StepRecord:
    state: str
    attempts: int
    output: Any
    error: dict[str, Any] | None
    started: datetime
    finished: datetime | None


@dataclass(frozen=True)
class RunRecord:
    """A run: ``steps`` by path, or by ``path[item]`` where it ran for an item; ``kept``: those of another run."""

    id: str
    status: str
    cause: str | None
    output: Any
    error: dict[str, Any] | None
    steps: dict[str, StepRecord]
    events: list[tuple[str, str | None, str | None, Any]]
    live: int
    kept: frozenset[str] = frozenset()

    @property
    def states(self) -> dict[str, str]:
        return {name: step.state for name, step in self.steps.items()}

    def events_of(self, kind: str) -> list[Any]:
        """The data of the events of one type."""
        return [data for type_, _, _, data in self.events if type_ == kind]


def statuses(tenant: str, runs: Sequence[str]) -> set[str]:
    """The statuses these runs have."""
    query = sa.select(models.runs.c.status).where(models.runs.c.id.in_(runs)).distinct()
    with tenant_session(tenant) as connection:
        return set(connection.execute(query).scalars())


def read_run(tenant: str, run: str) -> RunRecord:
    runs, steps, events, segments = models.runs.c, models.steps.c, models.run_events.c, models.segments.c
    with tenant_session(tenant) as connection:
        row = connection.execute(sa.select(models.runs).where(runs.id == run)).one()
        found = connection.execute(sa.select(models.steps).where(steps.run_id == run)).all()
        told = connection.execute(sa.select(models.run_events).where(events.run_id == run).order_by(events.id)).all()
        live = connection.scalar(sa.select(sa.func.count()).select_from(models.segments).where(segments.run_id == run))
    named = {f"{each.step}[{each.item}]" if each.item else each.step: each for each in found}
    return RunRecord(
        run,
        row.status,
        row.cause,
        row.output,
        row.error,
        {
            name: StepRecord(each.state, each.attempts, each.output, each.error, each.started_at, each.finished_at)
            for name, each in named.items()
        },
        [(each.type, each.step, each.item, each.data) for each in told],
        live or 0,
        frozenset(name for name, each in named.items() if each.kept_from is not None),
    )
