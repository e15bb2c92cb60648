"""What a rerun would do, told before anything is done: what it keeps, which effects it repeats, and how often."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nexusflow.workflows.saved.catalogue import catalogue
from nexusflow.workflows.starts.keeping import holders, is_effect
from nexusflow.workflows.starts.rerunning import Asked, Prepared, prepare


@dataclass(frozen=True)
class Effect:
    """What one step does outside of NexusFlow.

    ``was``: what the run that is repeated had made of it: ``succeeded`` (it is done once more, under ``new`` keys),
    ``unfinished`` (begun and not succeeded: it is tried again under the ``same`` keys, unless it comes after the step
    where the rerun begins) or ``not begun``. ``times``: how often; None where a loop decides.
    """

    step: str
    action: str
    connection: str | None
    was: Literal["succeeded", "unfinished", "not begun"]
    keys: Literal["same", "new"]
    times: int | None


@dataclass(frozen=True)
class Preview:
    """``kept``: of how many records of each step the results are kept; ``redone``: the steps that are done."""

    run_id: str
    workflow_id: str
    begin: str
    version: int
    kept: dict[str, int]
    redone: list[str]
    effects: list[Effect]

    def as_dict(self) -> dict[str, Any]:
        """As programs get it."""
        shown = asdict(self)
        return {"from" if name == "begin" else name: value for name, value in shown.items()}


def preview(tenant: str, run: str, asked: Asked) -> Preview:
    """What ``rerun`` would do. Raises as it does."""
    prepared = prepare(tenant, run, asked)
    kept = Counter(path for path, _ in prepared.kept.records if path in prepared.plan.steps)
    redone = [path for path in prepared.plan.steps if not _is_kept(prepared, path)]
    return Preview(
        run_id=str(prepared.run.id),
        workflow_id=str(prepared.run.workflow_id),
        begin=prepared.begin,
        version=prepared.version.number,
        kept={path: kept[path] for path in prepared.plan.steps if path in kept},
        redone=redone,
        effects=[
            each for path in redone if is_effect(prepared.plan, path) for each in _effects(prepared, path, kept[path])
        ],
    )


def _is_kept(prepared: Prepared, path: str) -> bool:
    """Whether nothing of a step is done: it is kept, or a scope around it is."""
    around = [scope.step for scope, _, _ in holders(prepared.plan, prepared.plan.steps[path].scope, "")]
    return any((each, "") in prepared.kept.records for each in (path, *around))


def _effects(prepared: Prepared, path: str, count: int) -> Iterator[Effect]:
    """``count``: how many of the step's records are kept."""
    step, kept = prepared.plan.steps[path], prepared.kept
    action = step.spec["type"]
    connection = step.spec.get("connection") or catalogue()[action].connection
    keys: Literal["same", "new"] = "new" if path in kept.anew else "same"
    again, unfinished = len(kept.again.get(path, ())), len(kept.unfinished.get(path, ()))
    if again:
        yield Effect(path, action, connection, "succeeded", "new", again)
    if unfinished:
        yield Effect(path, action, connection, "unfinished", keys, unfinished)
    rest = _not_begun(prepared, path, count + again + unfinished)
    if rest != 0:
        yield Effect(path, action, connection, "not begun", keys, rest)


def _not_begun(prepared: Prepared, path: str, begun: int) -> int | None:
    """How often a step is done that had not begun; None where a loop decides when it comes to it."""
    scope = prepared.plan.scopes[prepared.plan.steps[path].scope]
    if not scope.depth:
        return 0 if begun else 1
    if scope.path == scope.step and (scope.step, "") in prepared.kept.lists:
        return max(0, prepared.lists.get((scope.step, ""), 0) - begun)
    return 0 if begun else None
