"""Runs that wait for their turn under a limit: admitted when a slot is free, or when their time has come.

A part of the dispatcher. The end of a run with limits is news that names its tenant; whatever went unheard, and what
time alone decides (a rate, a debounce, a limit that was raised), the sweep finds. Any number of dispatchers may do so.
"""

import time

import sqlalchemy as sa

from nexusflow.db.session import control_session
from nexusflow.workflows.rows.counters import count
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.starts.admission import ADMIT, BATCH, admission

TIDY_SECONDS = 60.0

WAITING = sa.text("SELECT DISTINCT tenant_id FROM admissions WHERE admitted_at IS NULL AND ready_at <= now()")

# Rows that count for nothing any more: starts whose time for the rate is over, and what a restored backup may hold.
TIDY = (
    """
    DELETE FROM slots s WHERE s.kind = 'rate' AND s.admitted_at < now() - make_interval(secs => s.seconds)
        AND NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id AND r.finished_at IS NULL)
    """,
    """
    DELETE FROM slots s USING runs r WHERE r.id = s.run_id AND r.finished_at IS NOT NULL
        AND (s.kind <> 'rate' OR s.admitted_at IS NULL)
    """,
    "DELETE FROM admissions a USING runs r WHERE r.id = a.run_id AND r.finished_at IS NOT NULL",
)


class Admitter:
    """One dispatcher's share of the admissions."""

    def __init__(self) -> None:
        self._due: set[str] = set()
        self._next_tidy = 0.0

    def heard(self, tenant: str) -> None:
        """Of this tenant a run with limits is over."""
        if is_id(tenant):
            self._due.add(tenant)

    def sweep(self) -> None:
        """Look at all tenants whose runs wait, and sometimes clear away what counts no more."""
        with control_session() as connection:
            self._due |= {str(tenant) for (tenant,) in connection.execute(WAITING)}
        if time.monotonic() >= self._next_tidy:
            self._next_tidy = time.monotonic() + TIDY_SECONDS
            with control_session() as connection:
                for statement in TIDY:
                    connection.execute(sa.text(statement))

    def step(self) -> bool:
        """Admit runs of the tenants that may have room; says whether there may be more at once.

        Raises ClusterUnusable while the database is away.
        """
        asked = sorted(self._due)
        self._due.clear()
        for tenant in asked:
            with control_session() as connection:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")  # it would only be done again
                admitted: int = connection.exec_driver_sql(ADMIT, admission(tenant, None)).scalar_one()
            count("admitted", admitted)
            if admitted == BATCH:
                self._due.add(tenant)
        return bool(self._due)
