"""Whether a rerun can begin where it is asked to, and whether what it keeps fits the version it goes on with."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nexusflow.errors import InvalidInput, Permanent, Problem
from nexusflow.suggestions import hint_for
from nexusflow.workflows.engine.outcomes import Key, item_prefix
from nexusflow.workflows.evaluation.expressions import plain_references
from nexusflow.workflows.evaluation.references import Parts, look_up, show
from nexusflow.workflows.planning.graph import BODY
from nexusflow.workflows.planning.plan import Plan, StepPlan
from nexusflow.workflows.starts.keeping import Kept, holders

START, FAILED = "start", "failed"
STEP = "step:"
"""Before the name of a step that is called like one of the two words."""
MAX_PROBLEMS = 50

Values = Callable[[Iterable[Key]], dict[Key, Any]]
"""Gives the kept outputs of steps at items."""


def begin_at(text: str, plan: Plan) -> str:
    """Where a rerun begins: ``start``, ``failed``, or a step's path (see ``step_of``). Raises InvalidInput."""
    if text in (START, FAILED):
        return text
    step = text.removeprefix(STEP)
    if step not in plan.steps:
        problem = Problem(
            "/from", None, None, "UNKNOWN_STEP", f"There is no step '{step[:80]}'.", hint_for(step, plan.steps)
        )
        raise _refused(problem)
    for scope, _, _ in reversed(list(holders(plan, plan.steps[step].scope, ""))):
        kind = plan.steps[scope.step].spec["type"]
        if scope.kind in ("foreach", "until"):
            told = f"Step '{step}' lies in the {kind} '{scope.step}': a rerun begins at no single round of a loop."
            hint = f"Give '{scope.step}', or '{FAILED}': that keeps the rounds that succeeded."
            raise _refused(Problem("/from", None, None, "STEP_IN_A_LOOP", told, hint))
        if scope.kind == "part" and scope.path != f"{scope.step}/{BODY}":
            told = f"Step '{step}' runs because of how the try '{scope.step}' went: a rerun does not begin there."
            raise _refused(Problem("/from", None, None, "STEP_IN_A_CATCH", told, f"Give '{scope.step}'."))
    return f"{STEP}{step}" if step in (START, FAILED) else step


def step_of(begin: str) -> str | None:
    """The step where a rerun begins, if it begins at one."""
    return None if begin in (START, FAILED) else begin.removeprefix(STEP)


def _refused(problem: Problem) -> InvalidInput:
    return InvalidInput(f"The rerun cannot begin there: {problem.message}", problem.hint, [problem])


def misfits(before: Plan, after: Plan, kept: Kept, values: Values) -> list[Problem]:
    """What of that which is kept does not fit another version, each with the step, and the field where it is one."""
    found = list(_changed(before, after, kept))
    return (found or list(_unreadable(after, kept, values)))[:MAX_PROBLEMS]


def _changed(before: Plan, after: Plan, kept: Kept) -> Iterator[Problem]:
    """Steps that are gone or have become others."""
    own = {path for path, _ in (kept.records - kept.whole) | kept.lists}
    own |= {path for path, item in kept.whole if _is_round_of_open(before, kept, path, item)}
    told: set[str] = set()
    for path in sorted(own & before.steps.keys()):
        for step in [*reversed([scope.step for scope, _, _ in holders(before, before.steps[path].scope, "")]), path]:
            if step in told:
                break
            was = before.steps[step].spec["type"]
            if step not in after.steps:
                told.add(step)
                message = f"Step '{step}' is kept, and this version has none of that name."
                yield _problem("STEP_GONE", message, hint_for(step, after.steps))
                break
            now = after.steps[step].spec["type"]
            if now != was:
                told.add(step)
                message = f"Step '{step}' is kept as {was}, and is {now} in this version."
                yield _problem("STEP_CHANGED", message, "Rerun from this step, or from one before it.")
                break


def _is_round_of_open(plan: Plan, kept: Kept, path: str, item: str) -> bool:
    """Whether it is the record of a round of a loop that is not kept itself."""
    if path not in plan.steps or path not in plan.scopes:
        return False
    return (path, item_prefix(item, plan.scopes[path].depth - 1)) not in kept.records


@dataclass(frozen=True)
class _Read:
    """A field of a step's output that something reads: ``reader`` is what it is done for, ``told`` how it is called."""

    target: str
    parts: Parts
    told: str
    is_conditional: bool


def _unreadable(after: Plan, kept: Kept, values: Values) -> Iterator[Problem]:
    """Fields that are read and that a kept output does not have."""
    reads: dict[Key, list[_Read]] = {}
    items: dict[str, set[str]] = {}
    for path, item in kept.records:
        items.setdefault(path, set()).add(item)
    for read, here in _reads(after):
        for item in items.get(read.target, ()):
            is_over = (read.target, item) in kept.whole or (here is not None and (here, item) in kept.records)
            if not is_over:
                reads.setdefault((read.target, item), []).append(read)
    outputs = values(reads)
    told: set[tuple[str, Parts]] = set()
    for key, output in outputs.items():
        for read in reads[key]:
            if (read.told, read.parts) in told or (output is None and read.is_conditional):
                continue
            try:
                look_up(read.parts, {"steps": {read.parts[1]: {"output": output}}})
            except Permanent as error:
                told.add((read.told, read.parts))
                where = f" (item {key[1]})" if key[1] else ""
                message = (
                    f"{read.told} reads {show(read.parts)} of the kept '{read.target}'{where}, but {error.message}"
                )
                yield _problem("FIELD_MISSING", message, error.hint)


def _reads(plan: Plan) -> Iterator[tuple[_Read, str | None]]:
    """Every plain read of a field, and the step (beside the one that is read) that it is done for: None for an end."""
    for path, step in plan.steps.items():
        for parts in plain_references(_own_values(step)):
            yield from _read(
                plan, step.scope, parts, f"Step '{path}'", path, conditional=step.spec.get("when") is not None
            )
    for scope in plan.scopes.values():
        told = f"The end of '{scope.step}'" if scope.step else "The output"
        for parts in plain_references([scope.output, scope.condition]):
            yield from _read(plan, scope.path, parts, told, scope.step or None, conditional=False)


def _own_values(step: StepPlan) -> Any:
    spec = step.spec
    return [spec.get("with"), spec.get("when"), [case["when"] for case in spec.get("cases") or ()]]


def _read(
    plan: Plan, scope: str, parts: Parts, told: str, reader: str | None, *, conditional: bool
) -> Iterator[tuple[_Read, str | None]]:
    if parts[0] != "steps" or len(parts) < 4 or parts[2] != "output":
        return
    inner: list[str] = [] if reader is None else [reader]
    at: str | None = scope
    while at is not None:
        target = next((each for each in plan.scopes[at].steps if each.rpartition("/")[2] == parts[1]), None)
        if target is not None:
            # What stands beside the step that is read: the reader itself, or the scope that holds it.
            beside = next((each for each in reversed(inner) if plan.steps[each].scope == at), None)
            yield _Read(target, parts, told, conditional), beside
            return
        inner.append(plan.scopes[at].step)
        at = plan.scopes[at].parent


def _problem(code: str, message: str, hint: str) -> Problem:
    return Problem("/version", None, None, code, message, hint)
