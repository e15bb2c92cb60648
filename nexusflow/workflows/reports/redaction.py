"""Keeps a run's sensitive input out of what is shown: wherever one of its values turns up, there is a mask."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.schemas import MASK, sensitive_leaves
from nexusflow.workflows.reports.report_rows import RunRecords
from nexusflow.workflows.rows.values import read

LEAST_CHARACTERS = 4
"""Shorter values are not looked for: they stand in half of all texts."""
_NEVER_DATA = ("code", "cause", "step", "item")
"""What an error says in words of the engine; programs go by them."""

# Of the run and of those that called it, one in the other: what they were given may have been passed on. An input
# without anything sensitive is not even read.
SENSITIVE_INPUTS = sa.text("""
WITH RECURSIVE callers AS (
    SELECT id, parent_run, version_id, input, input_at FROM runs WHERE id = :run
    UNION ALL
    SELECT r.id, r.parent_run, r.version_id, r.input, r.input_at FROM runs r JOIN callers c ON r.id = c.parent_run)
SELECT r.input, r.input_at, v.config -> 'input' -> 'schema' AS schema
FROM callers r JOIN workflow_versions v ON v.id = r.version_id
WHERE strpos((v.config -> 'input' -> 'schema')::text, '"x-sensitive"') > 0
""")


class Redaction:
    """Replaces secrets in whatever it is given. Without secrets it gives back what it got."""

    def __init__(self, secrets: Iterable[Any] = ()) -> None:
        self._secrets = tuple(secrets)
        self._forms = {form for secret in self._secrets for form in _forms(secret) if len(form) >= LEAST_CHARACTERS}
        lengths: dict[str, set[int]] = defaultdict(set)
        for form in self._forms:
            lengths[form[:LEAST_CHARACTERS]].add(len(form))
        self._lengths = {start: sorted(each, reverse=True) for start, each in lengths.items()}

    def __bool__(self) -> bool:
        return bool(self._forms)

    def also(self, secrets: Iterable[Any]) -> "Redaction":
        """One that replaces these as well."""
        return Redaction([*self._secrets, *secrets])

    def value(self, value: Any) -> Any:
        """JSON data without the secrets: in its texts and keys, and as numbers."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return MASK if is_number and json.dumps(value) in self._forms else value

    def text(self, text: str) -> str:
        """A text with every secret in it replaced; time grows with the text, not with the number of secrets."""
        spans: list[list[int]] = []
        for at in range(len(text) - LEAST_CHARACTERS + 1):
            for length in self._lengths.get(text[at : at + LEAST_CHARACTERS], ()):
                if text[at : at + length] in self._forms:
                    if spans and at < spans[-1][1]:  # two that overlap: neither's rest may be left over
                        spans[-1][1] = max(spans[-1][1], at + length)
                    else:
                        spans.append([at, at + length])
                    break
        parts, rest = [], 0
        for begin, end in spans:
            parts += [text[rest:begin], MASK]
            rest = end
        return "".join([*parts, text[rest:]])

    def error(self, error: dict[str, Any] | None) -> dict[str, Any] | None:
        """A recorded error; its code, and where it happened, stay as they are."""
        if not error:
            return error
        return {key: each if key in _NEVER_DATA else self.value(each) for key, each in error.items()}

    def event(self, data: dict[str, Any]) -> dict[str, Any]:
        """An event's data."""
        return {key: self.error(each) if key == "error" else self.value(each) for key, each in data.items()}

    def records(self, records: RunRecords) -> RunRecords:
        """What was read of a run's steps."""
        if not self._forms:
            return records
        failures = {
            step: [replace(each, error=self.error(each.error) or {}) for each in failing]
            for step, failing in records.failures.items()
        }
        live = [replace(each, key=self.text(each.key)) for each in records.live]
        return replace(records, failures=failures, live=live)


def _forms(secret: Any) -> set[str]:
    """A secret as it is, and as it stands in a JSON text or a URL."""
    if isinstance(secret, str):
        escaped = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
        return {secret, quote(secret, safe=""), quote_plus(secret)} | escaped
    if isinstance(secret, (int, float)) and not isinstance(secret, bool):
        return {json.dumps(secret)}
    return set()


@lru_cache(maxsize=16)
def redaction_of(tenant: str, run: str) -> Redaction:
    """What to keep out of all that is shown of a run; an input never changes.

    Raises ClusterUnusable, and ObjectMissing where a large input is gone: what cannot be looked for is not shown.
    """
    with tenant_session(tenant) as connection:
        rows = connection.execute(SENSITIVE_INPUTS, {"run": run}).all()
    secrets = [each for row in rows for each in sensitive_leaves(row.schema, read(tenant, row.input, row.input_at))]
    return Redaction(secrets)
