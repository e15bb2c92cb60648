"""The plan: a definition as segments, scopes and gates, stored with its version and read by the runner.

A step's **path** is its place in the definition: ``fetch``, ``each/put`` (body of foreach ``each``),
``size/1/notify`` (second case of switch ``size``), ``size/default/notify``. A **scope** path is the
prefix: ``""`` (the workflow), ``each``, ``size/1``, ``size/default``. An **item** is where in the
enclosing foreaches a step runs: ``""`` outside, ``3`` in one foreach, ``3.0`` in two.
"""

from dataclasses import dataclass
from typing import Any, Literal

ScopeKind = Literal["workflow", "foreach", "branch"]
OpKind = Literal["step", "open", "item", "close", "end"]
"""step: do an action · open: start a foreach or a switch · item: one item's body is done (its output) ·
close: a foreach or a branch is done (the scope step's output) · end: the workflow is done (its output)."""


@dataclass(frozen=True)
class Op:
    """One thing a segment does; ``path`` is a step's path (a scope step's for open, item and close; "" for end)."""

    kind: OpKind
    path: str


@dataclass(frozen=True)
class Segment:
    """A path of ops of one queue in which each needs only its predecessor, executed by one Celery task.

    ``needs``: step paths of the same scope whose records decide whether the first op may start.
    ``quorum``: None = all needs terminal; n = n of them succeeded is enough (join any_success, {n: …}).
    ``follows``: ids of the segments that need this one's last op, in the same scope.
    """

    id: int
    scope: str
    queue: str
    ops: tuple[Op, ...]
    needs: tuple[str, ...]
    quorum: int | None
    follows: tuple[int, ...]


@dataclass(frozen=True)
class StepPlan:
    """What the runner must know of a step: the definition's own words, and ``refs``.

    ``refs``: the paths of the steps whose outputs the step's expressions read.
    ``spec``: the step's own fields (type, with, when, join, retry, timeout, on_error, connection, output, cases),
    JSON-ready, without its children.
    """

    path: str
    scope: str
    spec: dict[str, Any]
    needs: tuple[str, ...]
    refs: tuple[str, ...]
    pure: bool


@dataclass(frozen=True)
class Scope:
    """One DAG of steps.

    ``entries``: segments without needs. ``finish``: the segment that ends it (item, close or end).
    ``single``: the id of the one segment that is the whole body (foreach only): its items run in index ranges.
    ``output``: the scope's output expression, or None for its last step's output (``last``: that step's path).
    """

    path: str
    kind: ScopeKind
    step: str
    parent: str | None
    depth: int
    steps: tuple[str, ...]
    entries: tuple[int, ...]
    finish: int
    single: int | None
    output: Any
    last: str
    refs: tuple[str, ...]
