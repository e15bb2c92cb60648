"""What is read of a finished run to write it as a test: its records, earlier attempts' errors, its workflow's text."""

import datetime
from base64 import b64encode
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import sqlalchemy as sa

from nexusflow import storage
from nexusflow.db.session import tenant_session
from nexusflow.errors import Conflict, NotFound
from nexusflow.schemas import mask
from nexusflow.settings import get_settings
from nexusflow.workflows.engine.outcomes import Key
from nexusflow.workflows.reports.redaction import Redaction, redaction_of
from nexusflow.workflows.rows import values

MAX_RECORDS = 2_000
MAX_VALUE_BYTES, MAX_BYTES = 1_048_576, 4_194_304
"""The largest value that is written as it is, and all of them together; of others, the beginnings are."""
MAX_TEXT, MAX_ENTRIES = 500, 50
"""So much of a text, and of a list or an object, is kept of a value that is too large."""
PLAIN_WORDS = frozenset({"host", "port", "base_url", "endpoint_url", "region", "from", "tls"})
"""What connections hold that is no secret."""

HEAD = sa.text("""
SELECT r.status, r.input, r.input_at, r.output, r.output_at, r.error, r.finished_at, r.version_id, v.number, v.source,
       v.config -> 'input' -> 'schema' AS schema, w.name AS workflow
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.id = :run
""")
RECORDS = sa.text("""
SELECT step, item, state, attempts, output, output_at, error FROM steps WHERE run_id = :run
ORDER BY started_at, step, string_to_array(item, '.')::int[] LIMIT :most
""")
RETRIES = sa.text("""
SELECT step, item, data FROM run_events WHERE run_id = :run AND type = 'step.retrying' ORDER BY id
""")


@dataclass(frozen=True)
class StepRecord:
    """What a step did at an item; ``retried``: the errors of the attempts that were followed by another.

    ``is_shortened``: the output is too large to be written, and only the beginnings of its parts are here.
    """

    state: str
    attempts: int
    output: Any
    error: dict[str, Any] | None
    retried: tuple[dict[str, Any], ...] = ()
    is_shortened: bool = False


@dataclass(frozen=True)
class FinishedRun:
    """A run that is over, without its secrets. ``shortened``: which of ``input`` and ``output`` were too large."""

    status: str
    input: dict[str, Any]
    output: Any
    error: dict[str, Any] | None
    finished_at: datetime.datetime
    workflow: str
    number: int
    version: str
    source: str
    records: dict[Key, StepRecord]
    shortened: frozenset[str] = frozenset()


def read_finished(tenant: str, run: str) -> FinishedRun:
    """Read a run. Raises NotFound, Conflict CANNOT_EXPORT, StorageAway, ClusterUnusable."""
    with tenant_session(tenant) as connection:
        head = connection.execute(HEAD, {"run": run}).first()
        if head is None:
            raise NotFound(f"There is no run {run}.", "Check the id: it must be one of this tenant's.")
        if head.finished_at is None:
            raise refused(f"Run {run} is not over: it is {head.status}.", "Wait for its end, or cancel it.")
        rows = connection.execute(RECORDS, {"run": run, "most": MAX_RECORDS + 1}).all()
        if len(rows) > MAX_RECORDS:
            message = f"Run {run} has more than the {MAX_RECORDS:,} records of steps that a test file holds."
            raise refused(message, "Run the workflow with less input, and export that run.")
        retried = connection.execute(RETRIES, {"run": run}).all()
    return _Reader(tenant, run).finished(head, rows, retried)


def refused(message: str, hint: str) -> Conflict:
    """A run that cannot be written as a test."""
    return Conflict("CANNOT_EXPORT", message, hint)


def connection_secrets() -> list[str]:
    """What the connections of this process hold and nobody is to read."""
    connections = get_settings().connections.values()
    pairs = [f"{each['username']}:{each.get('password', '')}" for each in connections if "username" in each]
    return [
        *(value for words in connections for word, value in words.items() if word not in PLAIN_WORDS),
        *(b64encode(pair.encode()).decode() for pair in pairs),  # as HTTP's basic authentication sends them
    ]


def shortened(value: Any) -> Any:
    """The value with the beginnings of its texts, lists and objects: its shape, so that expressions still find it."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, dict):
        return {key: shortened(each) for key, each in islice(value.items(), MAX_ENTRIES)}
    return [shortened(each) for each in value[:MAX_ENTRIES]] if isinstance(value, list) else value


class _Reader:
    def __init__(self, tenant: str, run: str) -> None:
        self._tenant, self._room = tenant, MAX_BYTES
        self._redaction: Redaction = redaction_of(tenant, run).also(connection_secrets())

    def finished(self, head: Any, rows: Any, retried: Any) -> FinishedRun:
        errors: dict[Key, list[dict[str, Any]]] = {}
        for row in retried:
            errors.setdefault((row.step, row.item or ""), []).append(self._redaction.error(row.data.get("error")) or {})
        given, given_is_short = self._value(head.input, head.input_at, head.schema or {})
        output, output_is_short = self._value(head.output, head.output_at)
        short = {"input": given_is_short, "output": output_is_short}
        return FinishedRun(
            status=head.status,
            input=given,
            output=output,
            error=self._redaction.error(head.error),
            finished_at=head.finished_at,
            workflow=head.workflow,
            number=head.number,
            version=str(head.version_id),
            source=head.source,
            records={(row.step, row.item): self._record(row, errors.get((row.step, row.item), [])) for row in rows},
            shortened=frozenset(name for name, is_short in short.items() if is_short),
        )

    def _record(self, row: Any, retried: list[dict[str, Any]]) -> StepRecord:
        output, is_shortened = self._value(row.output, row.output_at)
        error = self._redaction.error(row.error)
        return StepRecord(row.state, row.attempts, output, error, tuple(retried), is_shortened=is_shortened)

    def _value(self, inline: Any, kept_at: str | None, schema: dict[str, Any] | None = None) -> tuple[Any, bool]:
        """A value without its secrets, and whether it is shortened; where it is gone, a note of its size."""
        size = len(orjson.dumps(inline)) if kept_at is None else storage.parse_key(kept_at, self._tenant).size
        # First without secrets: half of one is one, too.
        value = self._redaction.value(mask(schema or {}, values.whole(self._tenant, inline, kept_at)))
        if size > MAX_VALUE_BYTES or size > self._room:
            return shortened(value), True
        self._room -= size
        return value, False
