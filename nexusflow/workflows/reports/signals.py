"""What one reads of signals: one with its data, and lists of them."""
# ruff: noqa: S608 - composed of this file's constants; every value is a parameter

from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, NotFound
from nexusflow.suggestions import one_of
from nexusflow.workflows.rows import signals
from nexusflow.workflows.rows.paging import (
    MAX_TOTAL,
    Page,
    an_id,
    check_page,
    check_text,
    is_id,
    make_cursor,
    read_cursor,
)
from nexusflow.workflows.rows.signals import Signal

STATES = ("kept", "delivered", "expired", "refused")
SORTS = ("-received_at", "received_at")

_COLUMNS = """id, name, key, NULL AS data,
    CASE WHEN state = 'kept' AND expires_at <= now() THEN 'expired' ELSE state END AS state,
    received_at, expires_at, delivered_at, run_id, step, item"""
_IN_STATE = {
    "kept": "state = 'kept' AND expires_at > now()",
    "delivered": "state = 'delivered'",
    "expired": "(state = 'expired' OR (state = 'kept' AND expires_at <= now()))",
    "refused": "state = 'refused'",
}


def read_signal(tenant: str, signal: str) -> Signal:
    """A signal with its data. Raises NotFound."""
    found = None
    if is_id(signal):
        with tenant_session(tenant) as connection:
            found = signals.read(connection, signal)
    if found is None:
        raise NotFound(f"There is no signal {signal[:80]}.")
    return found


def list_signals(
    tenant: str,
    *,
    name: str | None = None,
    key: str | None = None,
    state: str | None = None,
    run: str | None = None,
    sort: str = "-received_at",
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[Signal]:
    """Signals without their data, newest first; ``run``: those that a run was given. Raises InvalidInput."""
    offset = check_page(page, per_page)
    where, values = _filters(tenant, name, key, state, run)
    if sort not in SORTS:
        raise InvalidInput(f"Signals cannot be sorted by {sort[:40]}.", f"Give {one_of(list(SORTS))}.")
    direction, sign = ("DESC", "<") if sort.startswith("-") else ("ASC", ">")
    onward: list[str] = []
    if cursor is not None:
        (after,) = read_cursor(cursor, sort, an_id)
        onward.append(f"id {sign} CAST(:after AS uuid)")
        values["after"], offset = after, 0
    query = f"SELECT {_COLUMNS} FROM signals WHERE {' AND '.join([*where, *onward])}"
    count = f"SELECT count(*) FROM (SELECT 1 FROM signals WHERE {' AND '.join(where)} LIMIT :most) AS counted"
    bounds = {"limit": per_page + 1, "offset": offset, "most": MAX_TOTAL + 1}
    with tenant_session(tenant) as session:
        page_of = sa.text(f"{query} ORDER BY id {direction} LIMIT :limit OFFSET :offset")
        rows = session.execute(page_of, values | bounds).all()
        total = session.execute(sa.text(count), values | bounds).scalar_one()
    items = [Signal.of(row) for row in rows[:per_page]]
    following = make_cursor(sort, items[-1].id) if len(rows) > per_page else None
    return Page(items, page, per_page, min(total, MAX_TOTAL), total > MAX_TOTAL, following)


def _filters(
    tenant: str, name: str | None, key: str | None, state: str | None, run: str | None
) -> tuple[list[str], dict[str, Any]]:
    """Conditions and their values."""
    where, values = ["tenant_id = CAST(:tenant AS uuid)"], {"tenant": tenant}
    for column, wanted in (("name", name), ("key", key)):
        if wanted is not None:
            where.append(f"{column} = :{column}")
            check_text(wanted)
            values[column] = wanted
    if state is not None:
        if state not in STATES:
            raise InvalidInput(f"There is no state {state[:40]}.", f"Give {one_of(list(STATES))}.")
        where.append(_IN_STATE[state])
    if run is not None:
        where.append("run_id = CAST(:run AS uuid)" if is_id(run) else "false")
        values["run"] = run
    return where, values
