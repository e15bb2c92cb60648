"""Workflows with limits, and a worker and a dispatcher that do no more than the rows ask for."""

from collections.abc import Sequence
from typing import Any

import psycopg

from nexusflow.db.session import control_session, tenant_session
from nexusflow.workflows.clock.admitting import Admitter
from nexusflow.workflows.saved import library
from nexusflow.workflows.starts.starting import start_runs
from tests.servers.databases import Database

SOURCE = """\
nexusflow: "1"
name: {name}
{limits}
steps:
  - {{ id: one, type: transform, with: {{ jq: "1" }} }}
"""
LIVE = "status NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out')"


def save(tenant: str, name: str, limits: str = "") -> str:
    """A new workflow with these words at its top; its id."""
    return library.create_workflow(tenant, SOURCE.format(name=name, limits=limits).encode()).id


def change(tenant: str, workflow: str, name: str, limits: str) -> None:
    """Its next version."""
    library.update_workflow(tenant, workflow, SOURCE.format(name=name, limits=limits).encode())


def start(tenant: str, workflow: str, **given: Any) -> str:
    """Start a run with this input; its id."""
    (run,) = start_runs(tenant, workflow, [given]).run_ids
    return run


def sweep() -> None:
    """What a dispatcher does for those that wait."""
    admitter = Admitter()
    admitter.sweep()
    while admitter.step():
        pass


def rows(database: Database, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """As the owner, who sees everything."""
    with psycopg.connect(database.owner_url) as connection:
        return connection.execute(query, values).fetchall()


def begun(database: Database, runs: Sequence[str]) -> list[str]:
    """Those of the runs that were admitted: they live and have segments."""
    found = rows(
        database,
        f"SELECT id::text FROM runs r WHERE id = ANY(%s::uuid[]) AND {LIVE}"
        " AND EXISTS (SELECT FROM segments s WHERE s.run_id = r.id)",
        list(runs),
    )
    admitted = {run for (run,) in found}
    return [run for run in runs if run in admitted]


def end(tenant: str, run: str, status: str = "succeeded") -> None:
    """End a run as a worker does."""
    with tenant_session(tenant) as connection:
        connection.exec_driver_sql("DELETE FROM segments WHERE run_id = %s", (run,))
        connection.exec_driver_sql(
            "UPDATE runs SET status = %s, started_at = coalesce(started_at, now()), finished_at = now() WHERE id = %s",
            (status, run),
        )


def finish_ending(database: Database) -> list[str]:
    """End what is to end, as the dispatcher's sweep does; the runs that were."""
    with control_session() as connection:
        ended = connection.exec_driver_sql(
            "UPDATE runs SET status = ending, finished_at = now() WHERE ending IS NOT NULL AND finished_at IS NULL"
            " RETURNING id::text"
        )
        runs = [str(run) for (run,) in ended]
        connection.exec_driver_sql("DELETE FROM segments WHERE run_id = ANY(%s::uuid[])", (runs,))
    return runs


def left(database: Database) -> tuple[int, int]:
    """Rows of runs that are over: admissions, and slots that still count."""
    ((admissions, slots),) = rows(
        database,
        "SELECT (SELECT count(*) FROM admissions a JOIN runs r ON r.id = a.run_id WHERE r.finished_at IS NOT NULL),"
        " (SELECT count(*) FROM slots s JOIN runs r ON r.id = s.run_id"
        " WHERE r.finished_at IS NOT NULL AND s.kind <> 'rate')",
    )
    return admissions, slots
