"""The statements of a list of runs (``listing.py``)."""
# ruff: noqa: S608 - composed of this file's constants; every value is a parameter

import datetime
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from nexusflow.errors import InvalidInput
from nexusflow.suggestions import one_of
from nexusflow.workflows.rows.paging import MAX_TOTAL, a_moment, an_id, is_id, make_cursor, read_cursor

LIVE = ("queued", "running", "paused")
BAD = ("failed", "cancelled", "timed_out")
STATUSES = (*LIVE, "succeeded", *BAD)
CAUSES = ("user", "provider", "platform")
TRIGGERS = ("api", "cli", "page", "schedule", "workflow", "rerun")
SORTS = ("-accepted_at", "accepted_at", "-finished_at", "finished_at")
WINDOW = 20_000
MIN_ID_PREFIX = 8
MAX_MESSAGE = 500
NO_ID = "0" * 32
_SKEW = datetime.timedelta(minutes=5)
"""How far the clock that made a run's id may be off the database's."""
_FIRST_YEAR = 1980

COLUMNS = """r.id, r.workflow_id, r.version_id, r.status, r.ending, r.cause, r.trigger, r.request_key, r.error,
       r.parent_run, r.accepted_at, r.started_at, r.finished_at, r.rerun_of"""
# What its own input marks, or perhaps that of a run that called it.
_SENSITIVE = "(r.parent_run IS NOT NULL OR strpos((v.config -> 'input' -> 'schema')::text, '\"x-sensitive\"') > 0)"
# A message with something sensitive in it is cut once that is out of it.
LINES = f"""
SELECT r.id, r.workflow_id, w.name AS workflow, v.number AS version, r.status, r.ending, r.cause, r.trigger,
       r.error ->> 'code' AS error_code, r.error IS NOT NULL AND {_SENSITIVE} AS is_sensitive,
       CASE WHEN {_SENSITIVE} THEN r.error ->> 'message' ELSE left(r.error ->> 'message', {MAX_MESSAGE}) END
            AS error_message,
       r.accepted_at, r.started_at, r.finished_at, r.rerun_of, now() AS read_at
"""
# And it is not searched: finding it would tell the value, guess by guess.
WITH_TEXT = f"""
(strpos(w.name, lower(:text)) > 0 OR starts_with(r.request_key, :text)
 OR strpos(lower(r.error ->> 'code'), lower(:text)) > 0
 OR (strpos(lower(r.error ->> 'message'), lower(:text)) > 0 AND NOT coalesce({_SENSITIVE}, false))
 OR r.id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid))
"""


@dataclass
class RunsQuery:
    """The statements of one list: ``kept`` is what an index finds, ``sought`` what each found row is asked."""

    tenant: str
    sort: str
    offset: int
    per_page: int
    kept: list[str] = field(default_factory=list)
    sought: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise InvalidInput(f"Runs cannot be sorted by {self.sort[:40]}.", f"Give {one_of(list(SORTS))}.")
        # The policy says so, too, but as an expression, of which the planner cannot know how many rows are meant.
        self.kept.append("r.tenant_id = CAST(:tenant AS uuid)")
        if self.by_end:
            self.kept.append("r.finished_at IS NOT NULL")
        self.values = {
            "tenant": self.tenant,
            "limit": self.per_page + 1,
            "offset": self.offset,
            "most": MAX_TOTAL + 1,
            "window": WINDOW,
        }

    @property
    def by_end(self) -> bool:
        """Sorted by when they were over; else by their ids, which tell when they were accepted."""
        return self.sort.endswith("finished_at")

    @property
    def order(self) -> str:
        """As SQL says it."""
        direction = "DESC" if self.sort.startswith("-") else "ASC"
        return f"ORDER BY r.finished_at {direction}, r.id {direction}" if self.by_end else f"ORDER BY r.id {direction}"

    def keep(
        self,
        workflow: str | None,
        status: Collection[str] | None,
        cause: str | None,
        since: datetime.datetime | None,
        until: datetime.datetime | None,
        parent: str | None = None,
    ) -> None:
        """What indexes find."""
        if parent is not None:
            self.kept.append("r.parent_run = CAST(:parent AS uuid)" if is_id(parent) else "false")
            self.values["parent"] = parent
        if workflow is not None:
            self.kept.append("r.workflow_id = CAST(:workflow AS uuid)" if is_id(workflow) else "false")
            self.values["workflow"] = workflow
        if cause is not None:
            self._choice("cause", cause, CAUSES)
            self.kept.append("r.cause = :cause")
            status = BAD if status is None else status
        if status is not None:
            self._statuses(status)
        for name, moment, sign in (("since", since, ">="), ("until", until, "<")):
            if moment is not None:
                self._moment(name, moment, sign)

    def _choice(self, name: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise InvalidInput(f"There is no {name} {value[:40]}.", f"Give {one_of(list(known))}.")
        self.values[name] = value

    def _statuses(self, wanted: Collection[str]) -> None:
        if not wanted:
            raise InvalidInput("No status is given to look for.", f"Give {one_of(list(STATUSES))}.")
        for each in wanted:
            self._choice("status", each, STATUSES)
        # Written out, not as parameters: only so does the planner see that a partial index serves.
        self.kept.append(f"r.status IN ({', '.join(repr(each) for each in STATUSES if each in wanted)})")
        if set(wanted) <= set(LIVE):
            self.kept.append("r.finished_at IS NULL")

    def _moment(self, name: str, moment: datetime.datetime, sign: str) -> None:
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
        self.kept.append(f"r.accepted_at {sign} :{name}")
        self.values[name] = moment
        if _FIRST_YEAR <= moment.year < 9999:
            self.kept.append(f"r.id {sign} uuid_floor(CAST(:{name}_id AS timestamptz))")
            self.values[f"{name}_id"] = moment - _SKEW if sign == ">=" else moment + _SKEW

    def look_for(self, text: str, trigger: str | None) -> None:
        """What no index finds."""
        if trigger is not None:
            self._choice("trigger", trigger, TRIGGERS)
            self.sought.append("r.trigger = :trigger")
        if text:
            digits = text.lower().replace("-", "")
            is_prefix = re.fullmatch(rf"[0-9a-f]{{{MIN_ID_PREFIX},32}}", digits) is not None
            low, high = (digits.ljust(32, "0"), digits.ljust(32, "f")) if is_prefix else (NO_ID, NO_ID)
            self.sought.append(WITH_TEXT)
            self.values |= {"text": text, "low": low, "high": high}

    def go_on(self, cursor: str | None) -> None:
        """Leave out what a cursor has passed."""
        if cursor is None:
            return
        sign = "<" if self.sort.startswith("-") else ">"
        self.values["offset"] = 0
        if self.by_end:
            at, after = read_cursor(cursor, self.sort, a_moment, an_id)
            self.passed.append(f"(r.finished_at, r.id) {sign} (CAST(:at AS timestamptz), CAST(:after AS uuid))")
            self.values |= {"at": at, "after": after}
        else:
            (after,) = read_cursor(cursor, self.sort, an_id)
            self.passed.append(f"r.id {sign} CAST(:after AS uuid)")
            self.values["after"] = after

    def cursor(self, row: Any) -> str:
        """Where to go on behind a row."""
        return make_cursor(self.sort, *([row.finished_at] if self.by_end else []), str(row.id))

    def rows(self) -> str:
        """The page's rows, and one more if there are any."""
        page = "LIMIT :limit OFFSET :offset"
        if self.sought:
            return f"{LINES} {self._of(self._near(onward=True))} WHERE {' AND '.join(self.sought)} {self.order} {page}"
        return f"{LINES} {self._of(self._runs(page, onward=True))} {self.order}"

    def count(self) -> str:
        """How many there are on all pages, as far as one counts."""
        if self.sought:
            found = f"SELECT 1 {self._of(self._near(onward=False))} WHERE {' AND '.join(self.sought)} LIMIT :most"
        else:
            found = self._runs("LIMIT :most", onward=False)
        return f"SELECT count(*) FROM ({found}) AS counted"

    def end_of_window(self) -> str:
        """The last run among those that are looked at, if it may have others behind it."""
        return self._runs("LIMIT 1 OFFSET :window - 1", onward=True)

    def _of(self, runs: str) -> str:
        return (
            f"FROM ({runs}) AS r"
            " JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id"
        )

    def _near(self, *, onward: bool) -> str:
        return self._runs("LIMIT :window", onward=onward)

    def _runs(self, bounds: str, *, onward: bool) -> str:
        conditions = " AND ".join([*self.kept, *(self.passed if onward else [])])
        return f"SELECT {COLUMNS} FROM runs r WHERE {conditions} {self.order} {bounds}"
