"""Starting runs: any number in one statement and one round trip, durable at its end.

The statement itself looks whether the workflow may still be started and whether the request came before. Versions never
change, so what a start needs of them is kept in the process.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson
import psycopg
import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import AWAY, DATABASE_DOWN, tenant_pipeline, tenant_session, unusable
from nexusflow.errors import ClusterUnusable, Conflict, InvalidInput, NotFound, Problem, QueueFull
from nexusflow.pointers import child
from nexusflow.settings import get_settings
from nexusflow.workflows.rows.paging import is_id
from nexusflow.workflows.rows.statements import WAKE
from nexusflow.workflows.rows.values import stored
from nexusflow.workflows.saved.versions import unknown_workflow
from nexusflow.workflows.starts.admission import ADMIT, Chosen, admission, answer_of, choose, queue_full, supersede
from nexusflow.workflows.starts.idempotency import check_key, fingerprint, once, recall
from nexusflow.workflows.starts.run_input import NOT_FITTING, checked_input, checked_value
from nexusflow.workflows.starts.start_sql import KEEP_ANSWER, START_RUNS
from nexusflow.workflows.starts.startable import Startable, recall_version, remember, resolve

Trigger = Literal["api", "cli", "page", "schedule", "workflow"]
MAX_BATCH = 1_000
MAX_PROBLEMS = 50
_TRIES = 5
"""A start that finds another version published than it checked its input against checks it again."""

__all__ = ["MAX_BATCH", "Started", "Trigger", "checked_input", "once", "remember", "start_runs"]

_LIVES = sa.text("SELECT FROM runs WHERE id = :run AND ending IS NULL AND finished_at IS NULL")
_IS_THERE = sa.text("SELECT FROM runs WHERE id = ANY(CAST(:runs AS uuid[])) LIMIT 1")

# Who notifies holds a lock of the whole server until its commit is done: so it is a transaction that waits for no disk.
WAKE_UNWAITED = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('nexusflow_work', '')"


@dataclass(frozen=True)
class Started:
    """The runs of one request, in its order.

    ``replayed``: an earlier request has started them all: one under this key, or (`singleton`) any.
    """

    run_ids: list[str]
    replayed: bool = False


@dataclass(frozen=True)
class Parent:
    """The step that a run is started by. ``segment``: what its end makes ready, in ``queue``; None: nobody waits."""

    run: str
    step: str
    item: str
    segment: int | None
    queue: str
    depth: int

    @property
    def key(self) -> str:
        """The idempotency key of the start."""
        return f"workflow:{self.run}/{self.step}/{self.item}"


def start_runs(
    tenant: str,
    workflow_id: str,
    inputs: Sequence[Any],
    *,
    version: int | None = None,
    trigger: Trigger = "api",
    idempotency_key: str | None = None,
    batch: bool = False,
    connection: sa.Connection | None = None,
    parent: Parent | None = None,
    mock: bool = False,
) -> Started:
    """Accept a run for each input, all or none; durable at return, or with the ``connection``'s transaction.

    ``version``: default the published one, else the newest. ``batch``: problems point into the list of inputs.
    ``parent``: the step that calls; where its run is ending, none is started. ``mock``: with the steps' mocks.
    Raises InvalidInput, NotFound, Conflict (archived, refused by a limit, or the key belongs to another request),
    QueueFull, ClusterUnusable.
    """
    _check_size(inputs)
    if not is_id(workflow_id):
        raise unknown_workflow(workflow_id)
    start = _Start(tenant, workflow_id, list(inputs), version, trigger, batch, connection)
    if idempotency_key is not None:
        start.key = check_key(idempotency_key)
        start.mark = fingerprint("start", workflow_id, version, batch, start.inputs, *(["mock"] if mock else []))
    start.mock = mock
    if parent is not None:
        start.parent, start.key, start.mark = parent, parent.key, "workflow"
    return start.perform()


class _Start:
    """One request to start runs."""

    def __init__(
        self,
        tenant: str,
        workflow: str,
        inputs: list[Any],
        version: int | None,
        trigger: Trigger,
        batch: bool,
        connection: sa.Connection | None,
    ) -> None:
        self.tenant, self.workflow, self.inputs, self.version = tenant, workflow, inputs, version
        self.trigger, self.batch, self.connection = trigger, batch, connection
        self.key: str | None = None
        self.mark = ""
        self.parent: Parent | None = None
        self.mock = False
        self.runs = [str(uuid_utils.uuid7()) for _ in inputs]
        self.chosen = Chosen(self.runs, set(self.runs))

    def perform(self) -> Started:
        """Start with the version last seen; look again where it is no longer the one to start."""
        known = recall_version(self.tenant, self.workflow, self.version)
        try:
            for _ in range(_TRIES):
                startable = known or self._resolve()
                known = None
                if self._insert(startable):
                    return Started(self.chosen.ids, replayed=not self.chosen.new)
                if (before := self._replay()) is not None:
                    return before
                if self.parent is not None and self._is_orphan(self.parent.run):
                    return Started([])
        except (InvalidInput, NotFound, Conflict, QueueFull):
            # What came in time before is answered as it was then, whatever has become of the workflow.
            if (before := self._replay()) is not None:
                return before
            raise
        raise Conflict("ARCHIVED", "The workflow is being changed all the time.", "Try again.")

    def _is_orphan(self, parent: str) -> bool:
        with tenant_session(self.tenant) as connection:
            return connection.execute(_LIVES, {"run": parent}).first() is None

    def _resolve(self) -> Startable:
        if self.connection is not None:
            return resolve(self.connection, self.tenant, self.workflow, self.version)
        with tenant_session(self.tenant) as connection:
            return resolve(connection, self.tenant, self.workflow, self.version)

    def _replay(self) -> Started | None:
        if self.key is None:
            return None
        if self.connection is not None:
            answer = recall(self.connection, self.key, self.mark)
        else:
            with tenant_session(self.tenant) as connection:
                answer = recall(connection, self.key, self.mark)
        if answer is None:
            return None
        return Started(answer["run_ids"], replayed=answer["run_ids"] != self.runs)

    def _insert(self, startable: Startable) -> bool:
        """Whether the runs are there: not if the workflow may not be started so, or the key was there before."""
        rows = self._rows(startable)
        if self.connection is not None:
            return self._in_transaction(self.connection, startable, rows)
        if startable.limits.are_exclusive:
            return self._exclusively(startable, rows)
        values = self._values(startable, rows)
        with unusable():
            try:
                return self._in_one_trip(values)
            except AWAY:
                return self._again(values)

    def _exclusively(self, startable: Startable, rows: list[dict[str, Any]]) -> bool:
        """As ``_in_one_trip``, but with a look at other runs between."""
        try:
            with tenant_session(self.tenant) as connection:
                return self._in_transaction(connection, startable, rows)
        except ClusterUnusable:
            if self._is_done():  # or its connection had been idle since before a restart
                return True
            with tenant_session(self.tenant) as connection:
                return self._in_transaction(connection, startable, rows)

    def _in_transaction(self, connection: sa.Connection, startable: Startable, rows: list[dict[str, Any]]) -> bool:
        is_exclusive = startable.limits.are_exclusive
        if is_exclusive:
            self.chosen = choose(connection, self.tenant, rows)
            rows = [row for row in rows if row["id"] in self.chosen.new]
        values = self._values(startable, rows)
        if not rows:
            if resolve(connection, self.tenant, self.workflow, self.version).id != startable.id:
                return False
            return self.key is None or connection.exec_driver_sql(KEEP_ANSWER, values).rowcount == 1
        count, is_limited, has_room = connection.exec_driver_sql(START_RUNS, values).first() or (0, False, True)
        if not has_room:
            raise queue_full(connection, self.tenant, len(rows))
        if count and is_exclusive:
            supersede(connection, self.tenant, rows)
        if count and is_limited:
            connection.exec_driver_sql(ADMIT, admission(self.tenant, [row["id"] for row in rows]))
        if count:
            connection.exec_driver_sql(WAKE)
        return bool(count)

    def _in_one_trip(self, values: dict[str, Any]) -> bool:
        with tenant_pipeline(self.tenant) as pipeline:
            pipeline.begin()
            outcome = pipeline.run(START_RUNS, values)
            pipeline.commit()
            pipeline.run(WAKE_UNWAITED, {})
        count, is_limited, has_room = outcome.fetchone() or (0, False, True)
        if not has_room:
            with tenant_session(self.tenant) as connection:
                raise queue_full(connection, self.tenant, len(self.runs))
        if count and is_limited:
            self._admit()
        return bool(count)

    def _admit(self) -> None:
        """Let those begin that need not wait. Losing this only leaves them to the dispatcher."""
        with contextlib.suppress(*DATABASE_DOWN), tenant_pipeline(self.tenant) as pipeline:
            pipeline.begin(synchronous=False)
            pipeline.run(ADMIT, admission(self.tenant, self.runs))
            pipeline.commit()
            pipeline.run(WAKE_UNWAITED, {})

    def _again(self, values: dict[str, Any]) -> bool:
        """A connection broke, perhaps one that had been idle since before a restart; the ids tell what has happened."""
        with contextlib.suppress(ClusterUnusable), tenant_session(self.tenant):
            pass  # the pool notices here that its connections are dead, and renews all of them
        try:
            return self._in_one_trip(values) or self._is_done()
        except psycopg.errors.UniqueViolation:
            return True

    def _is_done(self) -> bool:
        """Whether the runs are there: the workflow may have been changed since they were started."""
        with tenant_session(self.tenant) as connection:
            return connection.execute(_IS_THERE, {"runs": sorted(self.chosen.new)}).first() is not None

    def _rows(self, startable: Startable) -> list[dict[str, Any]]:
        rows = []
        for run, value in zip(self.runs, self._checked(startable), strict=True):
            if self.connection is None:
                inline, kept_at = stored(self.tenant, run, value)
            else:
                # A storage is not waited for in a transaction; an input that stands in a definition is never huge.
                inline, kept_at = orjson.dumps(value).decode(), None
            row = {"id": run, "input": inline and orjson.Fragment(inline), "input_at": kept_at}
            place = startable.limits.place(self.workflow, value)
            if self.parent is not None:
                for slot in place["slots"]:  # what is called can be no other run, and may not end the one that calls it
                    slot["when_full"] = "queue" if slot["when_full"] in ("replace", "reuse") else slot["when_full"]
            rows.append(row | place)
        return rows

    def _values(self, startable: Startable, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "workflow": self.workflow,
            "version": startable.id,
            "number": startable.number,
            "asked": self.version is not None,
            "timeout": startable.timeout,
            "queue_timeout": startable.queue_timeout,
            "trigger": self.trigger,
            "key": self.key,
            "mark": self.mark,
            "answer": answer_of(self.chosen.ids),
            "runs": orjson.dumps(rows).decode(),
            "count": len(rows),
            "limited": startable.limits.are_there,
            "max_running": get_settings().max_running_runs,
            "max_queued": get_settings().max_queued_runs,
            "entries": startable.entries,
            "mock": self.mock,
            "calls": list(startable.calls) or None,
            **self._parent_values(),
        }

    def _parent_values(self) -> dict[str, Any]:
        parent = self.parent
        return {
            "parent": parent and parent.run,
            "parent_step": parent and parent.step,
            "parent_item": parent and parent.item,
            "segment": parent and parent.segment,
            "parent_queue": parent and parent.queue,
            "depth": parent.depth if parent is not None else 0,
        }

    def _checked(self, startable: Startable) -> list[dict[str, Any]]:
        """The inputs with their defaults. Raises InvalidInput with the problems of all of them."""
        if not self.batch:
            return [checked_value(startable.schema, given) for given in self.inputs]
        checked, problems = [], []
        for index, given in enumerate(self.inputs):
            try:
                checked.append(checked_value(startable.schema, given))
            except InvalidInput as error:
                whole = Problem("", None, None, error.code, error.message, error.hint)
                at = child("/inputs", index)
                problems += [replace(each, path=at + each.path) for each in error.details or [whole]]
            if len(problems) >= MAX_PROBLEMS:
                break
        if problems:
            raise InvalidInput(NOT_FITTING.format("Inputs of the batch do"), details=problems[:MAX_PROBLEMS])
        return checked


def _check_size(inputs: Sequence[Any]) -> None:
    if not 1 <= len(inputs) <= MAX_BATCH:
        raise InvalidInput(f"A batch of {len(inputs):,} inputs cannot be started.", f"Give 1 to {MAX_BATCH:,} at once.")
