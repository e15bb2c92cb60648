"""What a run that has not begun waits for, how many are before it, and about how long: from live rows, when asked."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import control_session, tenant_session
from nexusflow.settings import get_settings
from nexusflow.workflows.reports.phrases import written_duration

WORKER_SECONDS = 2.0
"""How long work is ready before one says that it waits for a worker."""

_PLACE = sa.text("""
SELECT a.workflow_id, extract(epoch FROM a.ready_at - now())::float8 AS pause,
       nullif(coalesce(t.max_running, :max_running), 0) AS most,
       (SELECT count(*) FROM admissions w WHERE w.tenant_id = a.tenant_id AND w.admitted_at IS NULL
            AND (w.turn, w.run_id) < (a.turn, a.run_id)) AS before
FROM admissions a JOIN tenants t ON t.id = a.tenant_id WHERE a.run_id = :run AND a.admitted_at IS NULL
""")

_SLOTS = sa.text("""
SELECT s.kind, s.key, s.most, s.seconds, slots_taken(s.tenant_id, s.kind, s.scope, s.seconds) AS taken,
       (SELECT count(*) FROM slots w WHERE w.tenant_id = s.tenant_id AND w.scope = s.scope AND w.admitted_at IS NULL
            AND (w.turn, w.run_id) < (s.turn, s.run_id)) AS before,
       (SELECT extract(epoch FROM min(h.admitted_at) - now())::float8 + s.seconds FROM slots h
        WHERE h.tenant_id = s.tenant_id AND h.scope = s.scope
          AND h.admitted_at > now() - make_interval(secs => s.seconds)) AS opens
FROM slots s WHERE s.run_id = :run AND s.kind <> 'debounce' ORDER BY s.number
""")

_RUNNING = sa.text("""
SELECT count(*) FROM runs r WHERE r.finished_at IS NULL AND r.parent_segment IS NULL
    AND NOT EXISTS (SELECT FROM admissions a WHERE a.run_id = r.id AND a.admitted_at IS NULL)
""")

_PACE = sa.text("""
SELECT avg(extract(epoch FROM finished_at - started_at))::float8 FROM (
    SELECT started_at, finished_at FROM runs
    WHERE started_at IS NOT NULL AND status = 'succeeded'
      AND (CAST(:workflow AS uuid) IS NULL OR workflow_id = CAST(:workflow AS uuid))
    ORDER BY id DESC LIMIT 50) AS recent
""")

_READY = sa.text("""
SELECT queue, due_at FROM segments WHERE run_id = :run AND state = 'ready'
    AND due_at < now() - make_interval(secs => :patience) ORDER BY due_at LIMIT 1
""")

_BEFORE = sa.text("SELECT count(*) FROM segments WHERE queue = :queue AND state = 'ready' AND due_at < :due")


@dataclass(frozen=True)
class Turn:
    """What a run waits for before it begins.

    ``reason``: slot, rate, debounce, tenant or worker. ``before``: how many runs (for a worker: segments) are before
    it. ``seconds``: about how long it will be, where that can be told from the last runs. ``message``: all of it.
    """

    reason: str
    message: str
    before: int = 0
    seconds: float | None = None


def read_turn(tenant: str, run: str, workflow: str) -> Turn | None:
    """What this run waits for; ``workflow``: its name. None where nothing holds it. Raises ClusterUnusable."""
    with tenant_session(tenant) as connection:
        row = connection.execute(_PLACE, {"run": run, "max_running": get_settings().max_running_runs}).first()
        if row is not None:
            return _held(connection, row, run, workflow)
        ready = connection.execute(_READY, {"run": run, "patience": WORKER_SECONDS}).first()
    if ready is None:
        return None
    with control_session() as connection:
        before = connection.execute(_BEFORE, {"queue": ready.queue, "due": ready.due_at}).scalar_one()
    segments = "1 segment is" if before == 1 else f"{before:,} segments are"
    return Turn("worker", f"It waits for a worker: {segments} before it in the queue {ready.queue}.", before)


def _held(connection: sa.Connection, place: Any, run: str, workflow: str) -> Turn:
    if place.pause > 0:
        told = f"It waits {written_duration(round(place.pause, 0 if place.pause > 1 else 2))} more for a later run"
        return Turn("debounce", f"{told}, which would take its place.", 0, place.pause)
    slots = connection.execute(_SLOTS, {"run": run}).all()
    full = [each for each in slots if each.taken >= each.most]
    for slot in full:
        of_it = f"{workflow} with the key {slot.key}" if slot.key else workflow
        if slot.kind == "rate":
            seconds = max(0.0, slot.opens or 0.0) + slot.seconds * (slot.before // slot.most)
            told = (
                f"It waits for its turn: {_runs(slot.taken)} of {of_it} began within {written_duration(slot.seconds)}"
            )
            return _turn("rate", told, slot.before, seconds)
        seconds = _pace(connection, str(place.workflow_id), slot.before, slot.most)
        told = f"It waits for a slot: {slot.taken:,} of {_runs(slot.most)} of {of_it} run"
        return _turn("slot", told, slot.before, seconds)
    if place.most is not None:
        running = connection.execute(_RUNNING).scalar_one()
        if running >= place.most:
            told = f"It waits for a slot: {running:,} of the tenant's {_runs(place.most)} run"
            return _turn("tenant", told, place.before, _pace(connection, None, place.before, place.most))
    return Turn("slot", "It is about to start.", 0, 0.0)


def _turn(reason: str, told: str, before: int, seconds: float | None) -> Turn:
    others = {0: "it is next", 1: "1 is before it"}.get(before, f"{before:,} are before it")
    about = f"; about {_about(seconds)}" if seconds is not None else ""
    return Turn(reason, f"{told}; {others}{about}.", before, seconds)


def _pace(connection: sa.Connection, workflow: str | None, before: int, most: int) -> float | None:
    """How long until so many are through, if runs take as long as the last ones did."""
    mean = connection.execute(_PACE, {"workflow": workflow}).scalar_one()
    return None if mean is None else round(float(mean) * (before + 1) / most, 3)


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number:,} runs"


def _about(seconds: float) -> str:
    for size, unit in ((3_600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1.0, seconds):.0f} s"
