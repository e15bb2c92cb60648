"""What has changed between two versions of a workflow: in the text, and step by step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.workflows.saved.saved import read_summary
from nexusflow.workflows.saved.text_diff import unified
from nexusflow.workflows.saved.versions import no_version

_BOTH = sa.text(
    "SELECT number, source, config FROM workflow_versions WHERE workflow_id = :workflow AND number IN (:a, :b)"
)


@dataclass(frozen=True)
class StepChange:
    """A step that was ``added``, ``removed`` or ``changed``, and which of its words; "" is the workflow itself."""

    path: str
    change: str
    fields: list[str]


@dataclass(frozen=True)
class VersionDiff:
    """``text``: a unified diff of the authors' texts, empty where they are the same."""

    from_: int
    to: int
    text: str
    steps: list[StepChange]


def diff_versions(tenant: str, workflow_id: str, a: int, b: int) -> VersionDiff:
    """What version ``b`` has that ``a`` has not, and the other way round. Raises NotFound."""
    with tenant_session(tenant) as session:
        read_summary(session, workflow_id)
        found = {row.number: row for row in session.execute(_BOTH, {"workflow": workflow_id, "a": a, "b": b})}
    for number in (a, b):
        if number not in found:
            raise no_version(number)
    text = "".join(unified(found[a].source, found[b].source, f"version {a}", f"version {b}"))
    return VersionDiff(a, b, text, list(changed_steps(found[a].config, found[b].config)))


def changed_steps(before: dict[str, Any], after: dict[str, Any]) -> Iterator[StepChange]:
    """The steps that differ, in the order of the definitions."""
    old, new = (dict(_parts(config)) for config in (before, after))
    for path, words in new.items():
        if path not in old:
            yield StepChange(path, "added", [])
        elif fields := list(_fields(old[path], words)):
            yield StepChange(path, "changed", fields)
    yield from (StepChange(path, "removed", []) for path in old if path not in new)


def _parts(config: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The workflow's own words under "", and every step's by its path, without the steps inside it."""
    inner: list[tuple[str, dict[str, Any]]] = []
    words = dict(config)
    inner += [(path, each) for each in words.pop("steps", ())]
    cases = []
    for number, case in enumerate(words.get("cases", ())):
        cases.append({key: value for key, value in case.items() if key != "steps"})
        inner += [(f"{path}/{number}", each) for each in case["steps"]]
    if cases:
        words["cases"] = cases
    if isinstance(words.get("default"), dict) and "steps" in words["default"]:
        inner += [(f"{path}/default", each) for each in words["default"]["steps"]]
        words["default"] = {key: value for key, value in words["default"].items() if key != "steps"}
    yield path, words
    for scope, step in inner:
        yield from _parts(step, f"{scope}/{step['id']}" if scope else step["id"])


def _fields(before: Any, after: Any, name: str = "") -> Iterator[str]:
    """The words that differ, those inside of others as ``with.url``."""
    if isinstance(before, dict) and isinstance(after, dict) and name.count(".") < 2:
        for key in [*after, *(key for key in before if key not in after)]:
            yield from _fields(before.get(key), after.get(key), f"{name}.{key}" if name else key)
    elif before != after:
        yield name
