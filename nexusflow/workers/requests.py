"""Tasks as Flower and ``celery inspect`` show them: tenant, run and step by name, no data.

The names are looked up by the worker, and only while somebody watches: messages carry ids, and not one byte more.
"""

import time
from collections import OrderedDict
from typing import Any

import sqlalchemy as sa
from celery.exceptions import Ignore
from celery.worker.request import Request

from nexusflow.db.session import AWAY, control_session
from nexusflow.errors import NexusError
from nexusflow.log import get_logger
from nexusflow.workers.consumer import RUNS_SEGMENT
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows.plans import plan_of

log = get_logger(__name__)
KEPT_RUNS = 2_000
PAUSE_SECONDS = 10.0
"""How long ids are shown instead after the database did not answer: the consumer must not wait for each message."""
MOST_STEPS = 4
"""Steps of a segment that are named."""

_RUN = sa.text("""
SELECT t.name, r.version_id FROM runs r JOIN tenants t ON t.id = r.tenant_id
WHERE r.id = :run AND r.tenant_id = :tenant
""")


class Names:
    """Names of tenants and steps, by run; what was found is kept for the latest runs."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._silent_until = 0.0

    def of(self, arguments: Any) -> dict[str, Any]:
        """What a task's arguments mean: tenant, run, step, and item where there is one; ids where no name is found."""
        tenant, run, segment, item, lo = (*arguments, "", 0)[:5]
        shown = {"tenant": tenant, "run": run, "step": f"segment {segment}"}
        place = item or (str(lo) if lo else "")
        if place:
            shown["item"] = place
        if time.monotonic() < self._silent_until:
            return shown
        try:
            known = self._known(tenant, run)
            if known is not None:
                shown["tenant"] = known[0]
                shown["step"] = steps_of(plan_of(tenant, known[1]), segment)
        except (NexusError, sa.exc.SQLAlchemyError, ValueError, *AWAY) as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            log.warning("names.unknown", error=type(error).__name__)
        return shown

    def _known(self, tenant: str, run: str) -> tuple[str, str] | None:
        if run not in self._runs:
            with control_session() as connection:
                row = connection.execute(_RUN, {"run": run, "tenant": tenant}).one_or_none()
            if row is None:
                return None
            self._runs[run] = (row.name, str(row.version_id))
            if len(self._runs) > KEPT_RUNS:
                self._runs.popitem(last=False)
        return self._runs[run]


_ENDS = {"item": "end of an item of {}", "close": "end of {}", "end": "end of the workflow"}


def steps_of(plan: Plan, segment: int) -> str:
    """The steps that a segment does, as a reader names them: ``fetch → total``."""
    if not 0 <= segment < len(plan.segments):
        return f"segment {segment}"
    told = [_ENDS.get(op.kind, "{}").format(op.path) for op in plan.segments[segment].ops]
    more = len(told) - MOST_STEPS
    return " → ".join([*told[:MOST_STEPS], f"{more} more"] if more > 0 else told)


names = Names()


class ShownRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task's request whose arguments are shown by name, and whose events say how it went."""

    @property
    def is_watched(self) -> bool:
        """Whether anybody asked for this worker's task events (Flower does; no groups means all)."""
        eventer = self._eventer
        return bool(eventer and eventer.enabled and (not eventer.groups or "task" in eventer.groups))

    @property
    def runs_segment(self) -> bool:
        """Whether its arguments are a segment's."""
        return str(self.name).endswith(RUNS_SEGMENT)

    @property
    def argsrepr(self) -> Any:
        """The arguments as text: Celery sends it with an event, and takes it for a line of its log."""
        if not (self.is_watched and self.runs_segment):
            return self._argsrepr
        told = ", ".join(f"{key}={value!r}" for key, value in names.of(self._request_dict["args"]).items())
        return f"({told})"

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``celery inspect active`` shows of this task."""
        shown: dict[str, Any] = super().info(safe)
        if self.runs_segment:
            shown["args"] = names.of(self._request_dict["args"])
        return shown

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Celery ends an ignored task without a word; Flower would show it as running for ever."""
        done = super().on_failure(exc_info, send_failed_event, return_ok)
        error = exc_info.exception
        error = getattr(error, "exc", error)
        if isinstance(error, Ignore) and self.is_watched:
            ran = time.time() - self.time_start if self.time_start else 0.0
            self.send_event("task-succeeded", result=" ".join(map(str, error.args)) or "nothing to do", runtime=ran)
        return done

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """Send an event; a result is told in words, for it is a list of the segments that follow.

        Each event names its task: who begins to watch while it runs has not seen that it was received.
        """
        if type == "task-succeeded":
            fields["result"] = _told(fields.get("result"))
        if self.is_watched:
            fields = {"name": self.name, "args": self.argsrepr} | fields
        super().send_event(type, **fields)


def _told(result: Any) -> str:
    text = result if isinstance(result, str) else repr(result)
    if not text.startswith("["):
        return text
    following = [each for each in text.strip("[]").split(",") if each.strip()]
    return f"done, {len(following)} more to do" if following else "done"
