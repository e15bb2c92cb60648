"""One step of a run in full: what it is to do, what came of it, and the items of a loop, page by page.

What a step was given is evaluated again (``step_input.py``); beside it stand its words as written, the steps whose
outputs they read, inside a loop the item or the iteration, inside a catch the error. Sensitive input is masked in all.
"""

import datetime
import re
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, NotFound, Permanent
from nexusflow.settings import get_settings
from nexusflow.workflows.engine.outcomes import child_item, item_prefix
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.reports.phrases import catch_number, part_of
from nexusflow.workflows.reports.redaction import Redaction, redaction_of
from nexusflow.workflows.reports.step_input import given_to
from nexusflow.workflows.rows import values
from nexusflow.workflows.rows.paging import MAX_TOTAL, Page, check_page
from nexusflow.workflows.rows.plans import plan_of
from nexusflow.workflows.rows.reruns import Family, key_run
from nexusflow.workflows.rows.states import STEP_TERMINAL

VERSION = sa.text("SELECT version_id, finished_at FROM runs WHERE id = :run")
FAMILY = sa.text("SELECT origin, fresh FROM runs WHERE id = :run")
RECORD = sa.text("""
SELECT state, attempts, output, output_at, error, started_at, finished_at, kept_from
FROM steps WHERE run_id = :run AND step = :step AND item = :item
""")
ITEM_VALUE = sa.text("""
SELECT items -> CAST(:index AS int) AS value, items_at FROM steps
WHERE run_id = :run AND step = :step AND item = :item
""")
_ITEMS = """
FROM steps WHERE run_id = :run AND step = :step AND item LIKE :like
AND length(item) - length(replace(item, '.', '')) = :dots AND item <> '' AND (:state = '' OR state = :state)
"""
ITEMS = sa.text(f"""
SELECT item, state, attempts, error, started_at, finished_at {_ITEMS}
ORDER BY CAST(string_to_array(item, '.') AS int[]) LIMIT :limit OFFSET :skip
""")
COUNT = sa.text(f"SELECT count(*) FROM (SELECT 1 {_ITEMS} LIMIT :most) AS counted")  # noqa: S608 - constants

PREVIOUS = sa.text("SELECT output, output_at FROM steps WHERE run_id = :run AND step = :step AND item = :item")
CAUGHT = sa.text("SELECT error FROM steps WHERE run_id = :run AND step = :step AND item = :item")

_WORDS = (
    *("with", "when", "until", "cases", "catch", "join", "connection", "retry", "timeout", "on_error", "cache"),
    *("idempotency", "mock", "compensate", "output"),
)
LOOPS = ("foreach", "until")


@dataclass(frozen=True)
class StepDetails:
    """A step, or one item's: ``item`` is its place in the loops around it (``3``, ``3.0``), "" outside of any.

    ``state`` is None while there is no record. ``written``: the definition's words, expressions as they are.
    ``reads``: the steps whose outputs they read. ``item_value``: the foreach's item, where it lies in one;
    of an until, the iteration: its ``index``, and the output of the one before as ``previous``.
    ``caught``: the error that the innermost catch around it caught, by the name ``caught_name``.
    ``input``: what its expressions gave; None, with the reason in ``input_note``, where that cannot be told.
    ``input``, ``output``: a large one as ``{"$large": {"bytes", …}}`` unless the whole was asked for.
    ``kept_from``: the run that did it, where this one has kept it. ``has_items``: whether it has items to list.
    ``item_of``, ``items_of``: the type of the loop that the item is of, and of the one whose items are listed.
    """

    path: str
    type: str
    item: str
    state: str | None
    attempts: int
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    input: Any
    input_note: str
    output: Any
    error: dict[str, Any] | None
    written: dict[str, Any]
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    item_name: str | None
    item_value: Any
    caught_name: str | None
    caught: dict[str, Any] | None
    idempotency_key: str
    kept_from: str | None
    has_items: bool
    item_of: str | None
    items_of: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is not over."""
        return _seconds(self.state, self.started_at, self.finished_at)


@dataclass(frozen=True)
class ItemLine:
    """One item's record in short."""

    item: str
    state: str
    attempts: int
    error: dict[str, Any] | None
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is not over."""
        return _seconds(self.state, self.started_at, self.finished_at)


def read_step(tenant: str, run: str, path: str, item: str = "", *, whole: bool = False) -> StepDetails:
    """One step, or (with ``item``) what it did for one item. Raises NotFound, InvalidInput, ClusterUnusable."""
    with tenant_session(tenant) as connection:
        plan = _plan(connection, tenant, run, path)
        step = plan.steps[path]
        depth, level = _depth_of(plan, path, item), _list_level(plan, path)
        record = connection.execute(RECORD, {"run": run, "step": path, "item": item}).mappings().first()
        family = Family.of(*connection.execute(FAMILY, {"run": run}).one())
        name, value, value_at = _item_of(connection, tenant, plan, run, path, item)
        caught_name, caught = _caught(connection, plan, run, path, item)
    redaction = redaction_of(tenant, run)
    kept: dict[str, Any] = dict(record or {})
    given = given_to(tenant, run, plan, path, item, kept.get("state"))
    written = {word: step.spec[word] for word in _WORDS if step.spec.get(word) not in (None, {}, [])}
    return StepDetails(
        path=path,
        type=step.spec["type"],
        item=item,
        state=kept.get("state"),
        attempts=kept.get("attempts", 0),
        started_at=kept.get("started_at"),
        finished_at=kept.get("finished_at"),
        input=_bounded(redaction.value(given.value), whole=whole),
        input_note=redaction.text(given.why),
        output=_shown(tenant, redaction, kept.get("output"), kept.get("output_at"), whole=whole),
        error=redaction.error(kept.get("error")),
        written=redaction.value(written),
        needs=step.needs,
        reads=step.refs,
        item_name=name,
        item_value=_listed(tenant, redaction, value, value_at, item),
        caught_name=caught_name,
        caught=redaction.error(caught),
        idempotency_key=""
        if step.spec.get("idempotency")
        else f"{key_run(family, run, path, item)}/{path}/{item}".rstrip("/"),
        kept_from=str(kept["kept_from"]) if kept.get("kept_from") else None,
        has_items=level > depth,
        item_of=plan.steps[_loop_at(plan, path, depth)].spec["type"] if depth else None,
        items_of=plan.steps[_loop_at(plan, path, level)].spec["type"] if level > depth else None,
    )


def read_items(
    tenant: str, run: str, path: str, *, within: str = "", state: str = "", page: int = 1, per_page: int = 20
) -> Page[ItemLine]:
    """What a step did for each item, in their order; ``within``: of one item of the loop around alone.

    Raises NotFound, InvalidInput, ClusterUnusable.
    """
    skip = check_page(page, per_page)
    with tenant_session(tenant) as connection:
        plan = _plan(connection, tenant, run, path)
        level = _list_level(plan, path)
        if within:
            _depth_of(plan, path, within)
        asked = {"run": run, "step": path, "like": f"{within}.%" if within else "%", "dots": level - 1, "state": state}
        rows = connection.execute(ITEMS, {**asked, "limit": per_page, "skip": skip}).all() if level else []
        total = connection.execute(COUNT, {**asked, "most": MAX_TOTAL + 1}).scalar_one() if level else 0
    redaction = redaction_of(tenant, run) if any(row.error for row in rows) else Redaction()
    lines = [
        ItemLine(row.item, row.state, row.attempts, redaction.error(row.error), row.started_at, row.finished_at)
        for row in rows
    ]
    return Page(lines, page, per_page, min(total, MAX_TOTAL), total > MAX_TOTAL)


def _plan(connection: sa.Connection, tenant: str, run: str, path: str) -> Plan:
    row = connection.execute(VERSION, {"run": run}).first()
    if row is None:
        raise NotFound(f"There is no run {run}.", "Check the id.")
    plan = plan_of(tenant, str(row.version_id))
    if path not in plan.steps:
        raise NotFound(f"The run has no step {path[:200]}.", "The run's list of steps has their paths.")
    return plan


def _depth_of(plan: Plan, path: str, item: str) -> int:
    """In how many loops the item lies. Raises InvalidInput for one that this step cannot have."""
    depth = plan.scopes[plan.steps[path].scope].depth
    allowed = {0, depth, _list_level(plan, path)}
    level = item.count(".") + 1 if item else 0
    if level not in allowed or (item and not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", item)):
        raise InvalidInput(f"The step has no item '{item[:60]}'.", "List its items; they are numbered from 0.")
    return level


def _list_level(plan: Plan, path: str) -> int:
    """At which level a step's items are: a loop's own are one further in."""
    step = plan.steps[path]
    return plan.scopes[step.scope].depth + int(step.spec["type"] in LOOPS)


def _loop_at(plan: Plan, path: str, level: int) -> str:
    """The loop whose items are at this level: the step itself, or one around it."""
    while plan.steps[path].spec["type"] not in LOOPS or plan.scopes[plan.steps[path].scope].depth != level - 1:
        path = plan.scopes[plan.steps[path].scope].step
    return path


def _item_of(
    connection: sa.Connection, tenant: str, plan: Plan, run: str, path: str, item: str
) -> tuple[str | None, Any, Any]:
    """The name and the value of the item that a step was for, and where the list is kept if it is large.

    Of an until, that is the iteration; the output of the one before is told by its size where it is kept.
    """
    if not item:
        return None, None, None
    level = item.count(".") + 1
    holder = _loop_at(plan, path, level)
    prefix, index = item_prefix(item, level - 1), int(item.rpartition(".")[2])
    name = plan.steps[holder].spec["with"].get("as", "item")
    if plan.steps[holder].spec["type"] == "until":
        return name, {"index": index, "previous": _previous(connection, tenant, run, holder, prefix, index)}, None
    row = connection.execute(ITEM_VALUE, {"run": run, "step": holder, "item": prefix, "index": index}).first()
    return (name, row.value, row.items_at) if row is not None else (name, None, None)


def _previous(connection: sa.Connection, tenant: str, run: str, until: str, prefix: str, index: int) -> Any:
    before = child_item(prefix, index - 1)
    row = connection.execute(PREVIOUS, {"run": run, "step": until, "item": before}).first() if index else None
    if row is None:
        return None
    return row.output if row.output_at is None else values.note(tenant, row.output_at)


def _caught(
    connection: sa.Connection, plan: Plan, run: str, path: str, item: str
) -> tuple[str | None, dict[str, Any] | None]:
    """The name and the value of the variable that holds the error in the innermost catch around a step."""
    at: str | None = plan.steps[path].scope
    while at is not None:
        scope = plan.scopes[at]
        number = catch_number(part_of(at)) if scope.kind == "part" else None
        if number is not None:
            body = {"run": run, "step": f"{scope.step}/{BODY}", "item": item_prefix(item, scope.depth)}
            error = connection.execute(CAUGHT, body).scalar()
            return (plan.steps[scope.step].spec["catch"][number]["as"], error) if error else (None, None)
        at = scope.parent
    return None, None


def _listed(tenant: str, redaction: Redaction, value: Any, kept_at: str | None, item: str) -> Any:
    if kept_at is not None:
        try:
            value = values.loaded(tenant, None, kept_at)[int(item.rpartition(".")[2])]
        except (Permanent, IndexError):
            return None
    return redaction.value(value)


def _shown(tenant: str, redaction: Redaction, inline: Any, kept_at: str | None, *, whole: bool) -> Any:
    if kept_at is None:
        return redaction.value(inline)
    if not whole:
        return values.note(tenant, kept_at)
    try:
        return redaction.value(values.loaded(tenant, None, kept_at))
    except Permanent as error:
        raise NotFound(error.message, "It was kept apart, and is there no more.") from None


def _bounded(value: Any, *, whole: bool) -> Any:
    size = len(orjson.dumps(value))
    return value if whole or size <= get_settings().inline_bytes else {"$large": {"bytes": size}}


def _seconds(state: str | None, started: datetime.datetime | None, finished: datetime.datetime | None) -> float | None:
    if state not in STEP_TERMINAL or started is None or finished is None:
        return None
    return max(0.0, (finished - started).total_seconds())
