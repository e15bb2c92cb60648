"""The engine's writes: claim a segment, record its steps, settle what follows. Each is one round trip.

A segment's row stays leased until its consequences are written (``settle``), so a crash between recording and
settling is an expired lease: the next worker finds the steps recorded and only settles. A worker whose fence is no
longer the row's own writes nothing (``FenceLost``).
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import psycopg

from nexusflow.db.session import DATABASE_DOWN, Pipeline, tenant_pipeline
from nexusflow.settings import get_settings
from nexusflow.storage import StorageAway
from nexusflow.workflows.rows import statements as sql
from nexusflow.workflows.rows.counters import count, count_run, count_steps
from nexusflow.workflows.rows.effects import Effects, Ending, Fired, Inside, Lane, Row, Settled, stem_of
from nexusflow.workflows.rows.reruns import Family
from nexusflow.workflows.rows.signals import await_event
from nexusflow.workflows.rows.states import STEP_OPEN
from nexusflow.workflows.rows.values import Kept, kept_rows, reference, stored

STAY_SECONDS = 60.0
"""How long a record that could not be written may wait for its next try."""


NOT_NEEDED = {
    "code": "PARENT_ENDED",
    "message": "The step that called this run is stopped: another one around it failed.",
    "hint": "See the run that called it.",
    "cause": "user",
}


class FenceLost(Exception):
    """The segment is no longer this worker's: nothing was written."""


@dataclass(frozen=True)
class Hint:
    """What a message says: which segment may be ready."""

    tenant: str
    run: str
    segment: int
    item: str = ""
    lo: int = 0


@dataclass(frozen=True)
class Holder:
    """Who claims: the worker's node name and the Celery task's id (heartbeats renew by it)."""

    worker: str
    task_id: str


@dataclass
class Claim:
    """A claimed segment: the row's identity, its fence, and what a worker needs to go on where another stopped."""

    hint: Hint
    holder: Holder
    fence: str
    version: str
    input: Any = None
    queue: str = ""
    hi: int = 0
    attempts: int = 0
    losses: int = 0
    verdict: str | None = None
    stopped: bool = False
    mock: bool = False
    family: Family | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The parameters that identify and guard the row in a statement."""
        hint = self.hint
        return {
            "tenant": hint.tenant,
            "run": hint.run,
            "segment": hint.segment,
            "item": hint.item,
            "lo": hint.lo,
            "fence": self.fence,
            "worker": self.holder.worker,
            "task_id": self.holder.task_id,
            "lease": get_settings().lease_seconds,
        }


def new_fence() -> str:
    """A random token: whoever has it, and only while the row has it too, may write for the segment."""
    return str(uuid.uuid4())


def claim(hint: Hint, holder: Holder, *, known: bool) -> Claim | None:
    """Lease the segment if it is ready, due and its run goes on; None otherwise (a twin, a late or a wrong hint).

    ``known``: the caller has the run's input already, so it is not sent again.
    """
    taken = Claim(hint, holder, new_fence(), version="")
    with tenant_pipeline(hint.tenant) as pipeline:
        pipeline.begin(synchronous=False)
        cursor = pipeline.run(sql.CLAIM, taken.key | {"known": known})
        pipeline.run(sql.START, taken.key)
    row = cursor.fetchone()
    if row is None:
        return None
    taken.hi, taken.queue, taken.attempts, taken.losses, taken.verdict, taken.stopped, taken.mock, *rest = row
    version, given, given_at, origin, fresh = rest
    taken.version, taken.input = str(version), reference(hint.tenant, given, given_at)
    taken.family = Family.of(origin, fresh)
    return taken


def record(claim: Claim, rows: list[Row], *, next_timeout: float) -> Literal["go", "pause", "stop", "end"]:
    """Write steps' records while the segment goes on. Says whether it does, or the run: else nothing new may start.

    ``next_timeout``: seconds until the control plane takes the next step for hung. Raises FenceLost, StorageAway.
    """
    written = _rows_json(claim, rows)
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        recorded = _insert_rows(pipeline, claim, written)
        pipeline.run(sql.NEXT_STEP, claim.key | {"timeout": next_timeout})
        goes_on = pipeline.run(sql.GOES_ON, claim.key)
    _count(recorded)
    lives, runs, stopped = goes_on.fetchone() or (False, False, False)
    if not lives:
        return "end"
    return "stop" if stopped else "go" if runs else "pause"


def wait(claim: Claim, rows: list[Row], *, delay: float, attempts: int) -> None:
    """Record an attempt that failed and hand the segment back, due again in ``delay`` seconds.

    Raises FenceLost, StorageAway.
    """
    written = _rows_json(claim, rows)
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        recorded = _insert_rows(pipeline, claim, written)
        pipeline.run(sql.WAIT, claim.key | {"delay": delay, "attempts": attempts})
        pipeline.run(sql.WAKE, {})
    _count(recorded)


def settle(claim: Claim, effects: Effects) -> Settled:
    """Record what is left and, right after that commit, let follow what follows; all in one round trip.

    The second transaction sees every record committed before it, so of two last members one sees both.
    Raises FenceLost, StorageAway.
    """
    moved: psycopg.Cursor[Any] | None = None
    recorded: psycopg.Cursor[Any] | None = None
    finished: psycopg.Cursor[Any] | None = None
    fired: list[psycopg.Cursor[Any]] = []
    written = _rows_json(claim, effects.rows)
    with _held(claim) as pipeline:
        if effects.rows or effects.ending:
            pipeline.begin()
            pipeline.run(sql.HOLD, claim.key)
            recorded = _insert_rows(pipeline, claim, written)
            if effects.ending:
                pipeline.run(sql.END_RUN, claim.key | _ending(effects.ending))
        # Losing this commit in a crash only leaves an expired lease: the segment is settled again.
        pipeline.begin(synchronous=False)
        pipeline.run(sql.HOLD, claim.key)
        for inside in effects.dropped:
            _drop(pipeline, claim.key | inside.key, inside)
        if effects.lane is not None:
            moved, fired = _take_turn(pipeline, claim, effects.lane)
        else:
            pipeline.run(sql.DONE, claim.key)
        if effects.followers:
            followers = _json([f.__dict__ for f in effects.followers])
            fired.append(pipeline.run(sql.FIRE, claim.key | {"followers": followers}))
            if effects.awaited is not None:
                await_event(pipeline, claim.key, effects.awaited)
            if any(each.is_later for each in effects.followers):
                pipeline.run(sql.WAKE, {})
        if effects.ending:
            pipeline.begin()
            finished = pipeline.run(sql.FINISH_ENDING, claim.key)
    turned = moved.fetchone() if moved is not None else None
    _count(recorded)
    if finished is not None:
        count_run(finished.fetchone())
    if turned is None:
        count(f"segments.{claim.queue}")
    ready = [each for cursor in fired for each in (Fired(*row) for row in cursor.fetchall()) if not each.later]
    return Settled(ready, turned and (turned[0], turned[1]))


def quiesce(claim: Claim, inside: Inside) -> bool:
    """Stop what is inside of something that failed; False while a worker is still at some of it.

    What is ready goes, what is open starts nothing more, and what runs may end. Raises FenceLost.
    """
    scope = claim.key | inside.key
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        _drop(pipeline, scope, inside)
        left = pipeline.run(sql.IS_LEFT, scope)
    found = left.fetchone()
    if found is None or found[0]:
        return False
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        pipeline.run(sql.CANCEL_STEPS, scope | {"steps": inside.steps, "states": sorted(STEP_OPEN)})
    return True


def halt(claim: Claim, inside: Inside) -> list[tuple[int, str]]:
    """Let nothing of this begin; what a worker is at may finish, and nothing behind it. Raises FenceLost.

    Gives the segments, each with its item, that workers are at.
    """
    scope = claim.key | inside.key
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        _drop(pipeline, scope, inside)
        left = pipeline.run(sql.STOP, scope)
    return [(segment, item) for segment, item in left.fetchall()]


def cancel_rest(claim: Claim, inside: Inside, steps: list[str]) -> None:
    """Record that these steps are cancelled, as far as they are not over. Raises FenceLost."""
    scope = claim.key | inside.key
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        pipeline.run(sql.CANCEL_RECORDS, scope | {"rest": steps})
        pipeline.run(sql.DROP_SCOPE, scope)


def next_to_undo(claim: Claim, inside: Inside, steps: list[str]) -> tuple[str, str] | None:
    """The last step that succeeded of these (in the plan's order) and is not compensated yet, with its item."""
    with tenant_pipeline(claim.hint.tenant) as pipeline:
        pipeline.begin()
        found = pipeline.run(sql.TO_UNDO, claim.key | inside.key | {"steps": steps})
    row = found.fetchone()
    return row and (row[0], row[1])


def not_undone(claim: Claim, inside: Inside, steps: list[str]) -> list[dict[str, Any]]:
    """The compensations of these steps that failed, at most 20: ``{step, item, error}``."""
    with tenant_pipeline(claim.hint.tenant) as pipeline:
        pipeline.begin()
        undos = [f"{step}/compensate" for step in steps]
        found = pipeline.run(sql.NOT_UNDONE, claim.key | inside.key | {"steps": undos})
    return [{"step": step, "item": item or None, "error": error} for step, item, error in found.fetchall()]


def _drop(pipeline: Pipeline, scope: dict[str, Any], inside: Inside) -> None:
    pipeline.run(sql.DROP_SCOPE, scope)
    if inside.calls:
        pipeline.run(sql.CANCEL_CALLED, scope | {"error": _json(NOT_NEEDED)})
        pipeline.run(sql.WAKE, {})
    if inside.opened:
        # A foreach whose lane is at work takes no further item, and an until no further iteration.
        pipeline.run(sql.CANCEL_STEPS, scope | {"steps": inside.opened, "states": ["running", "waiting"]})


def succeed(claim: Claim, output: Any) -> None:
    """End the run well, with its output; its live rows go with it. Raises FenceLost, StorageAway."""
    if isinstance(output, Kept):
        parameters: dict[str, Any] = {"output": None, "output_at": output.key}
    else:
        with _staying(claim):
            inline, key = stored(claim.hint.tenant, claim.hint.run, output)
        parameters = {"output": inline, "output_at": key}
    with _held(claim) as pipeline:
        pipeline.begin()
        pipeline.run(sql.HOLD, claim.key)
        succeeded = pipeline.run(sql.SUCCEED, claim.key | parameters)
        pipeline.run(sql.DONE, claim.key)
    if succeeded.rowcount == 1:
        count("runs.succeeded")
    count(f"segments.{claim.queue}")


def hand_over(claim: Claim, *, begun: bool = False) -> None:
    """Give the segment up, ready for whoever gets its next message. Raises FenceLost.

    ``begun``: some of its steps are recorded, so the next one has to look which.
    """
    with _held(claim) as pipeline:
        pipeline.begin(synchronous=False)
        pipeline.run(sql.HOLD, claim.key)
        pipeline.run(sql.HAND_OVER, claim.key | {"attempts": int(begun)})


def finish_ending(tenant: str, run: str) -> None:
    """Give a run that is ending its terminal status, unless one of its steps still runs."""
    with tenant_pipeline(tenant) as pipeline:
        pipeline.begin()
        finished = pipeline.run(sql.FINISH_ENDING, {"run": run})
    count_run(finished.fetchone())


def _take_turn(
    pipeline: Pipeline, claim: Claim, lane: Lane
) -> tuple[psycopg.Cursor[Any] | None, list[psycopg.Cursor[Any]]]:
    turn = claim.key | {"foreach": lane.foreach, "prefix": lane.prefix, "stem": stem_of(lane.prefix), "take": lane.take}
    turn |= {"ended": lane.ended, "followers": _json([lane.closer.__dict__])}
    moved: psycopg.Cursor[Any] | None = None
    fired: list[psycopg.Cursor[Any]] = []
    pipeline.run(sql.TAKE, turn)
    if lane.entries:
        fired.append(pipeline.run(sql.NEXT_ITEM, turn | {"entries": _json(lane.entries)}))
    else:
        moved = pipeline.run(sql.MOVE_LANE, turn)
    pipeline.run(sql.DONE, claim.key)
    fired.append(pipeline.run(sql.CLOSE_FOREACH, turn))
    return moved, fired


def _insert_rows(pipeline: Pipeline, claim: Claim, written: str | None) -> psycopg.Cursor[Any] | None:
    if written is None:
        return None
    recorded = pipeline.run(sql.RECORD, claim.key | {"rows": written})
    if claim.family is not None:
        pipeline.run(sql.COME_PAST, claim.key | {"rows": written})
    return recorded


def _rows_json(claim: Claim, rows: list[Row]) -> str | None:
    """The records as JSON, their large values kept in the storage first: no transaction is open yet."""
    if not rows:
        return None
    with _staying(claim):
        return kept_rows(claim.hint.tenant, claim.hint.run, [row.__dict__ for row in rows]).decode()


@contextmanager
def _staying(claim: Claim) -> Iterator[None]:
    """While the storage is away, what is done waits to be recorded: it does not hang, and is not to be done again.

    Raises StorageAway, and FenceLost where the segment is another's by now.
    """
    try:
        yield
    except StorageAway:
        with suppress(*DATABASE_DOWN), _held(claim) as pipeline:
            pipeline.begin(synchronous=False)
            pipeline.run(sql.HOLD, claim.key)
            pipeline.run(sql.STAY, claim.key | {"seconds": STAY_SECONDS})
        raise


def _count(recorded: psycopg.Cursor[Any] | None) -> None:
    """Count what was recorded: a step that another had recorded before is not counted again."""
    if recorded is not None:
        count_steps(row[0] for row in recorded.fetchall())


def _ending(ending: Ending) -> dict[str, Any]:
    return {"status": ending.status, "cause": ending.error.get("cause", "user"), "error": _json(ending.error)}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


class _held:  # noqa: N801 - reads as a word: with _held(claim)
    """A tenant's pipeline whose lost fence comes out as FenceLost."""

    def __init__(self, claim: Claim) -> None:
        self._pipeline = tenant_pipeline(claim.hint.tenant)

    def __enter__(self) -> Pipeline:
        return self._pipeline.__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            self._pipeline.__exit__(*error)
        except psycopg.Error as failure:
            if failure.sqlstate == "NX001":
                raise FenceLost from failure
            raise
