"""Reruns: a run that is over is repeated by a new one, which begins with the records that it may keep.

What a rerun does under the idempotency keys of the run it repeats, and what under its own, ``Family`` tells.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow import storage
from nexusflow.db.session import tenant_session
from nexusflow.errors import Conflict, InvalidInput, NotFound, Problem
from nexusflow.settings import get_settings
from nexusflow.workflows.engine.outcomes import Key
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows import values
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.rows.plans import plan_of
from nexusflow.workflows.rows.reruns import Family
from nexusflow.workflows.rows.statements import WAKE
from nexusflow.workflows.starts.admission import ADMIT, admission
from nexusflow.workflows.starts.idempotency import answer_once, check_key, fingerprint, recall
from nexusflow.workflows.starts.keeping import Kept, keep, keep_nothing
from nexusflow.workflows.starts.limits import Limits
from nexusflow.workflows.starts.rerun_checks import FAILED, START, begin_at, misfits, step_of
from nexusflow.workflows.starts.run_input import checked_value
from nexusflow.workflows.starts.start_sql import PINS, TAKE_TURN
from nexusflow.workflows.starts.startable import Startable, resolve

Version = int | Literal["latest"] | None
MAX_READ = 10_000
"""Kept outputs looked into before another version goes on with them."""

_RUN = sa.text("""
SELECT r.id, r.workflow_id, r.version_id, r.status, r.finished_at, r.input, r.input_at, r.origin, r.fresh,
       v.number, v.config -> 'input' -> 'schema' AS schema, w.name AS workflow, w.deleted_at,
       (SELECT max(n.number) FROM workflow_versions n WHERE n.workflow_id = r.workflow_id) AS latest
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.id = :run
""")
_STATES = sa.text(
    "SELECT step, item, state, coalesce(items_count, jsonb_array_length(items)) AS items FROM steps WHERE run_id = :run"
)
_OUTPUTS = sa.text("""
SELECT s.step, s.item, s.output, s.output_at
FROM unnest(CAST(:steps AS text[]), CAST(:items AS text[])) AS k(step, item)
JOIN steps s ON s.run_id = :run AND s.step = k.step AND s.item = k.item LIMIT :most
""")
_OBJECTS = sa.text("""
SELECT s.output_at, s.items_at FROM unnest(CAST(:steps AS text[]), CAST(:items AS text[])) AS k(step, item)
JOIN steps s ON s.run_id = :run AND s.step = k.step AND s.item = k.item
WHERE s.output_at IS NOT NULL OR s.items_at IS NOT NULL
""")

# A foreach that had begun is taken over as one that runs, with its list and without what came of it.
_INSERT = f"""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(runs)s::jsonb) AS g(id uuid, priority int, wait float8, slots jsonb)),
workflow AS (
    SELECT w.id, %(limited)s OR coalesce(t.max_running, %(max_running)s::int) > 0 AS limited
    FROM workflows w JOIN tenants t ON t.id = w.tenant_id
    WHERE w.id = %(workflow)s AND w.deleted_at IS NULL AND w.status <> 'archived'),
made AS (
    INSERT INTO runs (id, tenant_id, workflow_id, version_id, input, input_at, trigger, request_key, deadline, start_by,
                      rerun_of, rerun_from, origin, fresh, pins, mock, limited)
    SELECT %(id)s, %(tenant)s, workflow.id, %(version)s,
           CASE WHEN %(changed)s THEN %(input)s::jsonb ELSE r.input END,
           CASE WHEN %(changed)s THEN %(input_at)s::text ELSE coalesce(%(moved)s::jsonb ->> r.input_at, r.input_at) END,
           'rerun', %(key)s::text, now() + make_interval(secs => %(timeout)s::float8),
           now() + make_interval(secs => %(queue_timeout)s::float8), r.id, %(begin)s,
           %(origin)s::uuid, %(fresh)s::jsonb,
           {PINS},
           r.mock, workflow.limited
    FROM workflow, runs r WHERE r.id = %(run)s AND r.finished_at IS NOT NULL
    RETURNING id, limited),
{TAKE_TURN}kept AS (
    INSERT INTO steps (run_id, step, item, tenant_id, state, attempts, output, output_at, error, items, items_at,
                       items_count, cursor, started_at, finished_at, kept_from, unpassed)
    SELECT made.id, s.step, s.item, s.tenant_id, CASE WHEN k.list THEN 'running' ELSE s.state END, s.attempts,
           CASE WHEN NOT k.list THEN s.output END,
           CASE WHEN NOT k.list THEN coalesce(%(moved)s::jsonb ->> s.output_at, s.output_at) END,
           CASE WHEN NOT k.list THEN s.error END, s.items, coalesce(%(moved)s::jsonb ->> s.items_at, s.items_at),
           s.items_count, s.cursor, s.started_at, CASE WHEN NOT k.list THEN s.finished_at END,
           coalesce(s.kept_from, s.run_id), CASE WHEN NOT k.whole THEN true END
    FROM made, unnest(%(steps)s::text[], %(items)s::text[], %(lists)s::bool[], %(whole)s::bool[])
         AS k(step, item, list, whole)
    JOIN steps s ON s.run_id = %(run)s AND s.step = k.step AND s.item = k.item
    WHERE NOT k.list OR s.items IS NOT NULL OR s.items_at IS NOT NULL),
told AS (
    INSERT INTO run_events (run_id, tenant_id, type, data)
    SELECT id, %(tenant)s, 'run.accepted', jsonb_build_object('rerun_of', %(run)s::text, 'from', %(begin)s::text)
    FROM made)
SELECT count(*), bool_or(limited) FROM made
"""  # noqa: S608 - composed of constants; every value is a parameter


@dataclass(frozen=True)
class Asked:
    """What is asked of a rerun.

    ``begin``: ``start``, ``failed``, or a step's path; default ``failed``, or with another input ``start``.
    ``version``: default the run's own. ``input``: another one than the run had.
    """

    begin: str | None = None
    version: Version = None
    input: dict[str, Any] | None = None


@dataclass(frozen=True)
class Prepared:
    """A rerun that may be started: the ``run`` that it repeats, as its row says, and what it keeps of it.

    ``lists``: how many items the foreaches of that run had. ``input``: None where it stays as it was.
    """

    run: Any
    begin: str
    version: Startable
    plan: Plan
    before: Plan
    lists: dict[Key, int]
    kept: Kept
    input: dict[str, Any] | None


@dataclass(frozen=True)
class Rerun:
    """A rerun that was accepted. ``kept``: how many records it began with."""

    id: str
    workflow_id: str
    rerun_of: str
    begin: str
    version: int
    kept: int
    replayed: bool = False


def rerun(tenant: str, run: str, asked: Asked, *, idempotency_key: str | None = None) -> Rerun:
    """Accept a run that repeats one that is over; durable at return.

    Raises NotFound (also where a kept value is gone), InvalidInput, Conflict (it is live, nothing failed, the version
    does not fit, the workflow is archived, the key belongs to another request), ClusterUnusable.
    """
    mark = ""
    if idempotency_key is not None:
        check_key(idempotency_key)
        mark = fingerprint("rerun", run, asked.begin, asked.version, asked.input)
        with tenant_session(tenant) as connection:
            before = recall(connection, idempotency_key, mark)
        if before is not None:
            return Rerun(**before, replayed=True)
    prepared = prepare(tenant, run, asked)
    new = str(uuid_utils.uuid7())
    with _there():
        given = _values(tenant, new, prepared) | {"key": idempotency_key}
    answer, replayed = answer_once(tenant, idempotency_key, mark, lambda connection: _insert(connection, given))
    return Rerun(**answer, replayed=replayed)


def input_of(tenant: str, run: str, version: Version = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The input that a run had, nothing of it masked, and the schema of the version that is asked for.

    Raises NotFound, Conflict, ClusterUnusable.
    """
    with tenant_session(tenant) as connection:
        row = _read(connection, run)
        schema = _resolved(connection, tenant, row, version).schema
    with _there():
        return dict(values.read(tenant, row.input, row.input_at)), schema


def _read(connection: sa.Connection, run: str) -> Any:
    row = connection.execute(_RUN, {"run": run}).first() if is_id(run) else None
    if row is None:
        raise NotFound(f"There is no run {run[:80]}.", "Check the id: it must be one of this tenant's.")
    _refuse_live(row)
    return row


def _resolved(connection: sa.Connection, tenant: str, row: Any, version: Version) -> Startable:
    number = version if isinstance(version, int) else row.latest if version else row.number
    return resolve(connection, tenant, str(row.workflow_id), number)


def prepare(tenant: str, run: str, asked: Asked) -> Prepared:
    """Find out what a rerun does, and whether it can be. Raises as ``rerun``."""
    with tenant_session(tenant) as connection:
        row = _read(connection, run)
        version = _resolved(connection, tenant, row, asked.version)
        found = connection.execute(_STATES, {"run": run}).all()
    states: dict[str, dict[str, str]] = {}
    for each in found:
        states.setdefault(each.step, {})[each.item] = each.state
    lists = {(each.step, each.item): each.items for each in found if each.items is not None}
    plan, before = plan_of(tenant, version.id), plan_of(tenant, str(row.version_id))
    begin = begin_at(asked.begin or (START if asked.input is not None else FAILED), plan)
    if asked.input is not None and begin != START:
        problem = "Steps that are kept have seen the input as it was."
        raise InvalidInput("Another input can be given from the start only.", f'{problem} Give "from": "start".')
    kept = keep_nothing(before, plan, states) if begin == START else keep(before, plan, states, step_of(begin))
    if begin == FAILED and row.status == "succeeded" and not kept.unfinished and not kept.lists:
        raise Conflict("NOTHING_FAILED", "Nothing failed in this run.", "Repeat it from the start, or from a step on.")
    prepared = Prepared(row, begin, version, plan, before, lists, kept, None)
    with _there():
        return replace(prepared, input=_checked(tenant, prepared, asked.input))


@contextmanager
def _there() -> Iterator[None]:
    """Say what it means where a large value is gone."""
    try:
        yield
    except storage.ObjectMissing as error:
        raise NotFound(f"Something that the run has kept cannot be read: {error.message}", error.hint) from None


def _refuse_live(row: Any) -> None:
    if row.finished_at is None:
        raise Conflict(
            "RUN_IS_LIVE",
            f"The run is {row.status}: only one that is over can be repeated.",
            "Wait for its end, or cancel it first.",
        )
    if row.deleted_at is not None:
        raise NotFound(
            f"The workflow of this run, {row.workflow}, was deleted, so nothing starts it any more.",
            "Save it again and start a new run.",
        )


def _checked(tenant: str, prepared: Prepared, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """The input where it is another than the run had; None where it stays. What does not fit is refused."""
    version, row = prepared.version, prepared.run
    if given is not None:
        return checked_value(version.schema, given)
    if version.number == row.number:
        return None
    problems: list[Problem] = []
    had = values.read(tenant, row.input, row.input_at)
    value = None
    try:
        value = checked_value(version.schema, had)
    except InvalidInput as error:
        problems += [replace(each, path=f"/input{each.path}") for each in error.details] or [
            Problem("/input", None, None, error.code, error.message, error.hint)
        ]
    outputs = partial(_outputs, tenant, str(row.id))
    problems += misfits(prepared.before, prepared.plan, prepared.kept, outputs)
    if problems:
        raise Conflict(
            "RERUN_DOES_NOT_FIT",
            f"What the run has kept does not fit version {version.number}: {problems[0].message}",
            "Rerun from an earlier step or from the start, or on the run's own version.",
            problems,
        )
    return None if value == had else value


def _outputs(tenant: str, run: str, keys: Iterable[Key]) -> dict[Key, Any]:
    wanted = list(keys)
    if not wanted:
        return {}
    asked = {"run": run, "steps": [step for step, _ in wanted], "items": [item for _, item in wanted]}
    with tenant_session(tenant) as connection:
        rows = connection.execute(_OUTPUTS, asked | {"most": MAX_READ}).all()
    return {(row.step, row.item): values.read(tenant, row.output, row.output_at) for row in rows}


def _values(tenant: str, new: str, prepared: Prepared) -> dict[str, Any]:
    """The statement's parameters. Large values are moved first: no transaction waits for a storage."""
    row, version, kept = prepared.run, prepared.version, prepared.kept
    inline, kept_at = (None, None) if prepared.input is None else values.stored(tenant, new, prepared.input)
    taken = [*kept.records, *kept.lists]
    family = _family(new, prepared)
    return {
        "id": new,
        "run": str(row.id),
        "tenant": tenant,
        "workflow": str(row.workflow_id),
        "version": version.id,
        "number": version.number,
        "changed": prepared.input is not None,
        "input": inline,
        "input_at": kept_at,
        "timeout": version.timeout,
        "queue_timeout": version.queue_timeout,
        "entries": version.entries,
        "begin": prepared.begin,
        "origin": family and family.origin,
        "fresh": orjson.dumps(family.to_json()).decode() if family is not None and family.fresh else None,
        "steps": [step for step, _ in taken],
        "items": [item for _, item in taken],
        "lists": [key in kept.lists for key in taken],
        "whole": [key in kept.whole for key in taken],
        "moved": orjson.dumps(_moved(tenant, new, prepared)).decode(),
        "calls": list(version.calls) or None,
        "segment": None,
        "limited": version.limits.are_there,
        "max_running": get_settings().max_running_runs,
        "runs": orjson.dumps([{"id": new} | _turn(tenant, prepared)]).decode(),
    }


def _turn(tenant: str, prepared: Prepared) -> dict[str, Any]:
    """What of its workflow's limits a rerun takes part in: it waits for its turn, and takes nobody's place."""
    row, version = prepared.run, prepared.version
    if not version.limits.are_there:
        return Limits().place(version.id, {})
    given = prepared.input if prepared.input is not None else values.read(tenant, row.input, row.input_at)
    turn = version.limits.place(str(row.workflow_id), given)
    for slot in turn["slots"]:
        slot["when_full"] = slot["when_full"] and "queue"
    return turn


def _family(new: str, prepared: Prepared) -> Family | None:
    """Whose id stands in the keys: the family's for what did not succeed, the new run's for what had."""
    if prepared.begin == START:
        return None
    row, kept = prepared.run, prepared.kept
    earlier = Family.of(row.origin, row.fresh) or Family(str(row.id))
    steps: dict[str, frozenset[str] | None] = {step: frozenset(items) for step, items in kept.again.items()}
    steps |= dict.fromkeys(kept.anew)
    return Family(earlier.origin, ((new, steps), *earlier.fresh) if steps else earlier.fresh)


def _moved(tenant: str, new: str, prepared: Prepared) -> dict[str, str]:
    """Large values that would go before the new run does, kept once more under it: their old keys, and their new ones.

    Objects go a month at a time, with the runs of that month.
    """
    row, kept = prepared.run, prepared.kept
    month = storage.month_of(new)
    if storage.month_of(str(row.id)) == month:
        return {}
    keys = list(kept.records | kept.lists)
    asked = {"run": str(row.id), "steps": [step for step, _ in keys], "items": [item for _, item in keys]}
    with tenant_session(tenant) as connection:
        found = {each for line in connection.execute(_OBJECTS, asked) for each in line if each is not None}
    if row.input_at is not None and prepared.input is None:
        found.add(row.input_at)
    return {each: storage.copy(tenant, each, new) for each in found}


def _insert(connection: sa.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    count, is_limited = connection.exec_driver_sql(_INSERT, dict(given)).one()
    if not count:
        raise Conflict("ARCHIVED", "The workflow is archived, so nothing starts it.", "Publish it to use it again.")
    if is_limited:
        connection.exec_driver_sql(ADMIT, admission(given["tenant"], [given["id"]]))
    connection.exec_driver_sql(WAKE)
    return {
        "id": given["id"],
        "workflow_id": given["workflow"],
        "rerun_of": given["run"],
        "begin": given["begin"],
        "version": given["number"],
        "kept": len(given["steps"]),
    }
