"""The workers and beats as their rows show them, and what they run right now."""

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.log import get_logger
from nexusflow.workers.processes import Process, read_processes
from nexusflow.workers.requests import names

log = get_logger(__name__)
MOST_SHOWN = 500
"""Running tasks that are shown at most."""

_HELD = sa.text("""
SELECT worker, task_id, tenant_id, run_id, segment, item, lo FROM segments WHERE state = 'leased'
ORDER BY worker, run_id LIMIT :most
""")


@dataclass(frozen=True)
class Running:
    """A task that a worker is at: tenant and step by name; ``since`` None where the worker did not answer."""

    tenant: str
    run: str
    step: str
    item: str
    since: datetime | None


@dataclass(frozen=True)
class WorkerState:
    """One process: ``state`` is running, draining or silent (it was not heard of lately)."""

    process: Process
    state: str
    busy: int
    done: int
    per_second: float
    running: list[Running]

    @property
    def queues(self) -> list[str]:
        """What it takes work from."""
        return list(self.process.details.get("queues", ()))


@dataclass(frozen=True)
class WorkersState:
    """All processes; ``complaint`` says why nobody was asked since when each task runs."""

    workers: list[WorkerState]
    complaint: str


def read_workers(patience: float = 2.0) -> WorkersState:
    """The processes now; the broker and the workers are waited for ``patience`` seconds. Raises ClusterUnusable."""
    processes = read_processes()
    alive = any(each.is_alive and each.kind == "worker" for each in processes)
    since, complaint = _asked(patience) if alive else ({}, "")
    running = _running(since)
    return WorkersState([_state(each, running.get(each.name, [])) for each in processes], complaint)


def _state(process: Process, running: list[Running]) -> WorkerState:
    stats = process.stats
    return WorkerState(
        process,
        process.state if process.is_alive else "silent",
        busy=int(stats.get("busy", 0)) if process.is_alive else 0,
        done=sum(stats.get("segments", {}).values()),
        per_second=round(sum(stats.get("per_second", {}).values()), 2) if process.is_alive else 0.0,
        running=running,
    )


def _running(since: dict[str, datetime]) -> dict[str, list[Running]]:
    with control_session() as connection:
        rows = connection.execute(_HELD, {"most": MOST_SHOWN}).all()
    found: dict[str, list[Running]] = defaultdict(list)
    for worker, task, tenant, run, segment, item, lo in rows:
        named = names.of((str(tenant), str(run), segment, item, lo))
        found[worker or ""].append(
            Running(named["tenant"], named["run"], named["step"], named.get("item", ""), since.get(task or ""))
        )
    return found


def _asked(patience: float) -> tuple[dict[str, datetime], str]:
    """Since when each task runs, by its id, as the workers themselves say; and why they were not heard."""
    answers: list[dict[str, Any]] = []
    complaints: list[str] = []

    def ask() -> None:
        try:
            from nexusflow.celery import app  # noqa: PLC0415 - slow
            from nexusflow.operations.broker import connection  # noqa: PLC0415

            with connection() as opened:
                inspected = app.control.inspect(timeout=min(1.0, patience / 2), connection=opened)
                answers.append(inspected.active() or {})
        except Exception as error:
            said = str(error).strip()
            complaints.append((said.splitlines()[0] if said else type(error).__name__)[:200])

    asking = threading.Thread(target=ask, name="inspect", daemon=True)
    asking.start()
    asking.join(patience)
    if not answers:
        return {}, complaints[0] if complaints else "the broker did not answer in time"
    started = {
        task["id"]: datetime.fromtimestamp(task["time_start"], UTC)
        for tasks in answers[0].values()
        for task in tasks
        if task.get("time_start")
    }
    return started, ""
