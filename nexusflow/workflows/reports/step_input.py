"""What a step was given: its expressions evaluated again, from records that do not change.

An input is recorded nowhere: it follows from the run's input and earlier steps' outputs, and evaluating it when
somebody looks costs a run nothing. Where a step did not wait for all it reads (``any_success``, ``{n: 2}``), one of
those may have ended after it began; its output is then shown as it is now.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import StepError
from nexusflow.storage import StorageAway
from nexusflow.workflows.engine.outcomes import Surroundings
from nexusflow.workflows.evaluation.expressions import resolve
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.language.definition import SCOPE_TYPES
from nexusflow.workflows.planning.plan import Plan, Scope
from nexusflow.workflows.rows.states import STEP_TERMINAL
from nexusflow.workflows.rows.values import reference
from nexusflow.workflows.rows.work import Claim, Hint, Holder

RUN_INPUT = sa.text("SELECT input, input_at, version_id FROM runs WHERE id = :run")
NEVER_GIVEN = ("skipped", "blocked")


@dataclass(frozen=True)
class Given:
    """``value`` is what the step was given; where it cannot be told, it is None and ``why`` says the reason."""

    value: Any = None
    why: str = ""


def given_to(tenant: str, run: str, plan: Plan, path: str, item: str, state: str | None) -> Given:
    """The input of a step at an item; ``state`` is its recorded one. Raises ClusterUnusable."""
    step = plan.steps[path]
    scope = plan.scopes[step.scope]
    if step.spec["type"] in SCOPE_TYPES or state in NEVER_GIVEN:
        return Given()
    if (item.count(".") + 1 if item else 0) != scope.depth:
        loop = next(each for each in _around(plan, scope) if each.kind in ("foreach", "until"))
        one = "an iteration" if loop.kind == "until" else "an item"
        return Given(why=f"Choose {one}: each has an input of its own.")
    with tenant_session(tenant) as connection:
        row = connection.execute(RUN_INPUT, {"run": run}).one()
    claim = Claim(Hint(tenant, run, 0), Holder("", ""), "", str(row.version_id))
    around = Surroundings(plan, claim, reference(tenant, row.input, row.input_at))
    keys = around.keys_for(step.refs, step.scope, item)
    around.load(keys)
    if state is None and not all(_is_known(around, key) for key in keys):
        return Given(why="What it reads is not there yet.")
    try:
        roots = around.expression_scope(step.refs, step.scope, item)
        value = resolve(step.spec.get("with") or {}, roots, get_sandbox())
    except (StepError, StorageAway) as error:
        return Given(why=f"It cannot be evaluated again: {error.message}")
    except IndexError:
        return Given(why="There is no such item.")
    if step.spec["type"] in ("wait", "workflow"):
        value = {word: each for word, each in value.items() if each is not None}
    if step.spec["type"] == "transform" and "input" not in value:
        value = {**value, "input": {"input": roots["input"], "steps": roots["steps"]}}
    return Given(value)


def _around(plan: Plan, scope: Scope) -> Iterator[Scope]:
    """The scope and those around it, innermost first."""
    yield scope
    while scope.parent is not None:
        scope = plan.scopes[scope.parent]
        yield scope


def _is_known(around: Surroundings, key: tuple[str, str]) -> bool:
    outcome = around.known.get(key)
    return outcome is not None and (outcome.items is not None or outcome.state in STEP_TERMINAL)
