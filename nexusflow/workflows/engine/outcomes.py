"""What a segment's expressions may read: earlier steps' outcomes, the run's input, the loop variables.

Records are immutable once terminal, so a process keeps what it read (bounded by bytes, least recently used first out).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from nexusflow.db.session import tenant_pipeline
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan, Scope
from nexusflow.workflows.rows.reruns import Family
from nexusflow.workflows.rows.states import STEP_TERMINAL
from nexusflow.workflows.rows.values import Kept, RecentlyUsed, reference
from nexusflow.workflows.rows.work import Claim

CACHE_BYTES = 32 * 1024 * 1024
RUNS = 4_000
"""Runs whose inputs a process keeps: far more than are under way in it at any time."""


@dataclass(frozen=True)
class Outcome:
    """One step's record as a follower sees it; ``items`` is a foreach's list. What is large is a ``Kept``."""

    state: str
    output: Any = None
    error: dict[str, Any] | None = None
    items: list[Any] | Kept | None = None
    attempts: int = 1


Key = tuple[str, str]
"""A step's path and its item path; the path of a foreach with LIST behind it stands for the foreach's list."""
LIST = "[]"


_outcomes: RecentlyUsed[Outcome] = RecentlyUsed(CACHE_BYTES)

FETCH = """
SELECT k.name, s.item, s.state, CASE WHEN k.list THEN s.items ELSE s.output END,
       CASE WHEN k.list THEN s.items_at ELSE s.output_at END, s.error, s.attempts,
       pg_column_size(CASE WHEN k.list THEN s.items ELSE s.output END)
FROM unnest(%(names)s::text[], %(steps)s::text[], %(items)s::text[], %(lists)s::bool[]) AS k(name, step, item, list)
JOIN steps s ON s.run_id = %(run)s AND s.step = k.step AND s.item = k.item
"""


def fetch(claim: Claim, keys: Iterable[Key]) -> dict[Key, Outcome]:
    """The records of these steps, as far as there are any, in at most one round trip."""
    run = claim.hint.run
    found: dict[Key, Outcome] = {}
    missing: list[Key] = []
    for key in set(keys):
        cached = _outcomes.get((run, *key))
        if cached is None:
            missing.append(key)
        else:
            found[key] = cached
    if missing:
        parameters = {
            "run": run,
            "names": [name for name, _ in missing],
            "steps": [name.removesuffix(LIST) for name, _ in missing],
            "items": [item for _, item in missing],
            "lists": [name.endswith(LIST) for name, _ in missing],
        }
        with tenant_pipeline(claim.hint.tenant) as pipeline:
            pipeline.begin()
            rows = pipeline.run(FETCH, parameters)
        for name, item, state, inline, kept_at, error, attempts, size in rows.fetchall():
            value = reference(claim.hint.tenant, inline, kept_at)
            is_list = name.endswith(LIST)
            output, items = (None, value) if is_list else (value, None)
            found[name, item] = outcome = Outcome(state, output, error, items, attempts)
            if state in STEP_TERMINAL or items is not None:
                _outcomes.put((run, name, item), outcome, 4 * (size or 0) + 500)
    return found


FETCH_ITEMS = """
SELECT state, output, output_at, error FROM steps
WHERE run_id = %(run)s AND step = %(foreach)s AND item <> %(prefix)s AND starts_with(item, %(stem)s)
ORDER BY string_to_array(item, '.')::int[]
"""


def fetch_items(claim: Claim, foreach: str, prefix: str) -> list[Outcome]:
    """The records of a foreach's items, in item order."""
    stem = f"{prefix}." if prefix else ""
    with tenant_pipeline(claim.hint.tenant) as pipeline:
        pipeline.begin()
        parameters = {"run": claim.hint.run, "foreach": foreach, "prefix": prefix, "stem": stem}
        rows = pipeline.run(FETCH_ITEMS, parameters)
    tenant = claim.hint.tenant
    return [Outcome(state, reference(tenant, output, at), error) for state, output, at, error in rows.fetchall()]


def iterations_kept(claim: Claim, until: str, prefix: str) -> int:
    """How many iterations of an until a rerun has kept of the run that it repeats."""
    if claim.family is None:
        return 0
    return sum(each.state == "succeeded" for each in fetch_items(claim, until, prefix))


def item_prefix(item: str, depth: int) -> str:
    """The first ``depth`` numbers of an item path."""
    return ".".join(item.split(".")[:depth]) if depth else ""


def child_item(prefix: str, index: int) -> str:
    """The item path of a foreach's item."""
    return f"{prefix}.{index}" if prefix else str(index)


def _iteration_before(until: Scope, item: str) -> list[Key]:
    """The key of the record of the iteration before; none for the first."""
    *prefix, index = item.split(".")[: until.depth]
    return [(until.step, ".".join([*prefix, str(int(index) - 1)]))] if int(index) else []


class Surroundings:
    """Where a segment runs: finds every name that its expressions may use."""

    def __init__(self, plan: Plan, claim: Claim, input_value: Any) -> None:
        self._plan = plan
        self._claim = claim
        self._input = input_value
        self._loaded: dict[Kept, Any] = {}
        self.known: dict[Key, Outcome] = {}

    def scopes(self, scope: str) -> list[Scope]:
        """The scope and those around it, innermost first."""
        found: list[Scope] = []
        path: str | None = scope
        while path is not None:
            found.append(self._plan.scopes[path])
            path = found[-1].parent
        return found

    def keys_for(self, refs: Iterable[str], scope: str, item: str) -> list[Key]:
        """What must be known before expressions with these references are evaluated at this place."""
        keys = [(ref, item_prefix(item, self._depth_of(ref))) for ref in refs]
        for around in self.scopes(scope):
            if around.kind == "foreach":
                keys.append((around.step + LIST, item_prefix(item, around.depth - 1)))
            elif around.kind == "until":
                keys += _iteration_before(around, item)
            elif around.kind == "part" and self._catch(around) is not None:
                keys.append((f"{around.step}/{BODY}", item_prefix(item, around.depth)))
        return keys

    def load(self, keys: Iterable[Key]) -> None:
        """Read what is not known yet."""
        wanted = [key for key in keys if key not in self.known]
        if wanted:
            self.known.update(fetch(self._claim, wanted))

    def expression_scope(self, refs: Iterable[str], scope: str, item: str) -> dict[str, Any]:
        """The roots of an expression: ``input``, ``steps``, ``run`` and the loop variables of the foreaches around.

        Loads what is large. Raises Permanent VALUE_MISSING, StorageAway.
        """
        steps = {}
        for ref in refs:
            outcome = self.known.get((ref, item_prefix(item, self._depth_of(ref))))
            steps[ref.rpartition("/")[2]] = self._view(outcome or Outcome("pending"))
        given = self._whole(self._input)
        roots: dict[str, Any] = {"input": given, "steps": steps, "run": {"id": self._claim.hint.run}}
        for around in self.scopes(scope):
            if around.kind == "foreach":
                self._add_loop_variables(roots, around, item)
            elif around.kind == "until":
                self._add_iteration(roots, around, item)
            elif around.kind == "part" and (catch := self._catch(around)) is not None:
                failed = self.known.get((f"{around.step}/{BODY}", item_prefix(item, around.depth)))
                roots[catch["as"]] = failed.error if failed is not None else None
        return roots

    def _catch(self, part: Scope) -> dict[str, Any] | None:
        """The catch that a part of a try is, or None."""
        name = part.path.rpartition("/")[2]
        if not name.startswith("catch"):
            return None
        found: dict[str, Any] = self._plan.steps[part.step].spec["catch"][int(name.removeprefix("catch"))]
        return found

    def _add_iteration(self, roots: dict[str, Any], around: Scope, item: str) -> None:
        before = [self.known.get(key) for key in _iteration_before(around, item)]
        previous = self._whole(before[0].output) if before and before[0] is not None else None
        index = int(item.split(".")[around.depth - 1])
        roots[self._plan.steps[around.step].spec["with"]["as"]] = {"index": index, "previous": previous}

    def _add_loop_variables(self, roots: dict[str, Any], around: Scope, item: str) -> None:
        foreach = self.known.get((around.step + LIST, item_prefix(item, around.depth - 1)))
        index = int(item.split(".")[around.depth - 1])
        name = self._plan.steps[around.step].spec["with"]["as"]
        roots[name] = (self._whole(foreach.items) or [])[index] if foreach else None
        roots[f"{name}_index"] = index

    def _view(self, outcome: Outcome) -> dict[str, Any]:
        """What ``steps.<id>`` is in an expression."""
        return {"output": self._whole(outcome.output), "state": outcome.state, "error": outcome.error}

    def _whole(self, value: Any) -> Any:
        """The value itself; a large one is loaded once a claim, even if it is too large for the process's cache."""
        if not isinstance(value, Kept):
            return value
        if value not in self._loaded:
            self._loaded[value] = value.load()
        return self._loaded[value]

    def _depth_of(self, step: str) -> int:
        return self._plan.scopes[self._plan.steps[step].scope].depth


class Runs:
    """What never changes of the runs this process has met lately, so it is sent to it once: input and family."""

    def __init__(self) -> None:
        self._inputs: RecentlyUsed[tuple[Any, Family | None]] = RecentlyUsed(CACHE_BYTES, RUNS)

    def get(self, run: str) -> tuple[Any, Family | None] | None:
        """The input (it may be null), and the family of a rerun."""
        return self._inputs.get(run)

    def put(self, run: str, value: Any, family: Family | None) -> None:
        """Keep a run's input and family."""
        size = 0 if isinstance(value, Kept) else len(orjson.dumps(value))
        size += len(orjson.dumps(family.to_json())) if family is not None else 0
        self._inputs.put(run, (value, family), 4 * size + 200)
