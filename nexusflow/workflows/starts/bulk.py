"""The same done to many runs: each by itself, so that what is refused for one holds up no other."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import Conflict, NexusError
from nexusflow.workflows.rows.states import RUN_TERMINAL
from nexusflow.workflows.starts.control import cancel_run
from nexusflow.workflows.starts.idempotency import part_of_key
from nexusflow.workflows.starts.rerun_preview import preview
from nexusflow.workflows.starts.rerunning import Asked, rerun

MAX_RUNS = 1_000
FAILED_RUNS = frozenset({"failed", "timed_out"})
LIVE_RUNS = frozenset({"queued", "running", "paused"})
"""Which runs are meant where no status is asked for: to be repeated, and to be cancelled."""

_REPEATED = sa.text("""
SELECT DISTINCT ON (rerun_of) rerun_of, id, status, request_key FROM runs
WHERE rerun_of = ANY(CAST(:runs AS uuid[])) ORDER BY rerun_of, id DESC
""")


def rerun_each(
    tenant: str, runs: Sequence[str], asked: Asked, *, dry_run: bool = False, idempotency_key: str | None = None
) -> dict[str, Any]:
    """Repeat runs, or say what that would do; one that another run repeats already is left out.

    Gives ``{"done", "refused", "effects", "runs"}``; ``effects`` (of a dry run) sums up those of all. Of each run there
    is its ``run_id``, the ``id`` of the new one, or ``error``. Raises ClusterUnusable.
    """
    repeated = _repeated(tenant, runs)

    def one(run: str) -> dict[str, Any]:
        key = part_of_key(idempotency_key, run)
        if run in repeated and (key is None or repeated[run].request_key != key):
            again = repeated[run]
            told = f"Run {again.id} repeats it already, and is {again.status}."
            raise Conflict("REPEATED_ALREADY", told, "Repeat that one, or this one by its id.")
        if dry_run:
            return {"preview": preview(tenant, run, asked).as_dict()}
        made = rerun(tenant, run, asked, idempotency_key=key)
        return {"id": made.id, "status": "queued"}

    answer = _each(runs, one)
    if dry_run:
        answer["effects"] = _summed(answer["runs"])
    return answer


def cancel_each(tenant: str, runs: Sequence[str], *, dry_run: bool = False) -> dict[str, Any]:
    """Cancel runs, or say which that would be. Gives ``{"done", "refused", "runs"}``. Raises ClusterUnusable."""

    def one(run: str) -> dict[str, Any]:
        if dry_run:
            return {}
        status = cancel_run(tenant, run)
        return {"status": status, "was_over": status in RUN_TERMINAL}

    return _each(runs, one)


def _each(runs: Sequence[str], one: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    told: list[dict[str, Any]] = []
    for run in runs:
        line: dict[str, Any] = {"run_id": run, "error": None}
        try:
            line |= one(run)
        except NexusError as error:
            if error.status >= 500:
                raise
            line["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
        told.append(line)
    refused = sum(line["error"] is not None for line in told)
    return {"done": len(told) - refused, "refused": refused, "runs": told}


def _repeated(tenant: str, runs: Sequence[str]) -> dict[str, Any]:
    """The newest run that repeats each of these."""
    with tenant_session(tenant) as connection:
        rows = connection.execute(_REPEATED, {"runs": list(runs)}).all()
    return {str(row.rerun_of): row for row in rows}


def _summed(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The effects of all runs; ``at_least``: loops may add to their number."""
    times: dict[tuple[str, ...], int] = defaultdict(int)
    open_ended = set()
    for line in runs:
        for effect in line.get("preview", {}).get("effects", ()):
            key = (effect["action"], effect["connection"] or "", effect["was"], effect["keys"])
            times[key] += effect["times"] or 0
            open_ended |= {key} if effect["times"] is None else set()
    return [
        {"action": action, "connection": connection or None, "was": was, "keys": keys, "times": count}
        | {"at_least": (action, connection, was, keys) in open_ended}
        for (action, connection, was, keys), count in sorted(times.items())
    ]
