"""A definition's steps and scopes as far as they can be read, so that one mistake does not hide the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nexusflow.pointers import child
from nexusflow.workflows.language.definition import PLANNED_STEP_TYPES


@dataclass(eq=False)
class StepView:
    """One step: its words as written; ``id`` and ``type`` are "" where they cannot be read."""

    pointer: str
    words: Mapping[str, Any]
    scope: "ScopeView"
    scopes: list["ScopeView"] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The step's id."""
        return _text(self.words.get("id"))

    @property
    def type(self) -> str:
        """The step's type."""
        return _text(self.words.get("type"))

    @property
    def title(self) -> str:
        """How a message begins to speak of the step."""
        return f"Step '{self.id}'" if self.id else "This step"

    @cached_property
    def needs(self) -> list[tuple[str, str]]:
        """The ids it needs, each with its pointer."""
        listed = self.words.get("needs")
        if not isinstance(listed, list):
            return []
        pointer = child(self.pointer, "needs")
        return [(need, child(pointer, index)) for index, need in enumerate(listed) if isinstance(need, str)]


@dataclass(eq=False)
class ScopeView:
    """One list of steps. ``pointer``: of the list; ``holder``: of what has ``output``.

    ``variables``: its own; ``named_at``: the pointer of the word that names them.
    """

    pointer: str
    holder: str
    words: Mapping[str, Any]
    owner: StepView | None
    depth: int
    variables: tuple[str, ...] = ()
    named_at: str = ""
    steps: list[StepView] = field(default_factory=list)

    @cached_property
    def by_id(self) -> dict[str, StepView]:
        """The first step of each id."""
        found: dict[str, StepView] = {}
        for step in self.steps:
            if step.id:
                found.setdefault(step.id, step)
        return found

    @cached_property
    def edges(self) -> dict[str, list[str]]:
        """The ids each step needs, as far as they are there."""
        return {
            name: [need for need, _ in step.needs if need in self.by_id and need != name]
            for name, step in self.by_id.items()
        }

    @cached_property
    def _order(self) -> list[str]:
        """Every step after its needs; those in or behind a cycle are left out."""
        followers: dict[str, list[str]] = {name: [] for name in self.edges}
        missing = {name: len(needs) for name, needs in self.edges.items()}
        for name, needs in self.edges.items():
            for need in needs:
                followers[need].append(name)
        order = [name for name, count in missing.items() if count == 0]
        for name in order:
            for follower in followers[name]:
                missing[follower] -= 1
                if missing[follower] == 0:
                    order.append(follower)
        return order

    @cached_property
    def entangled(self) -> set[str]:
        """The steps in a cycle or behind one."""
        return set(self.edges) - set(self._order)

    @cached_property
    def _ancestors(self) -> dict[str, int]:
        """The ancestors of each step as bits, by the place in ``_order``: thousands of steps, little memory."""
        place = {name: index for index, name in enumerate(self._order)}
        found: dict[str, int] = {}
        for name in self._order:
            found[name] = 0
            for need in self.edges[name]:
                found[name] |= found[need] | 1 << place[need]
        return found

    def is_ancestor(self, name: str, step: str) -> bool:
        """Whether one step of this scope comes before another; true where a cycle leaves it open."""
        if step in self.entangled or name in self.entangled:
            return name in self.by_id
        return name in self.edges and bool(self._ancestors[step] >> self._order_place[name] & 1)

    @cached_property
    def _order_place(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self._order)}


@dataclass(frozen=True)
class Site:
    """A value that may hold expressions, and where they look from: a step, or (None) the end of the scope.

    ``word``: what the value is: with, when, items, case, until, output, idempotency, mock
    or compensate (which sees the step itself).
    """

    pointer: str
    value: Any
    word: str
    scope: ScopeView
    step: StepView | None


def read_outline(data: Any) -> ScopeView:
    """The workflow's scope with all that is below it."""
    words = data if isinstance(data, Mapping) else {}
    return _read_scope("", words, None, 0)


def every_scope(scope: ScopeView) -> Iterator[ScopeView]:
    """A scope and all scopes inside it, outer ones first."""
    yield scope
    for step in scope.steps:
        for inner in step.scopes:
            yield from every_scope(inner)


def every_step(scope: ScopeView) -> Iterator[StepView]:
    """All steps of a scope and of those inside it."""
    for each in every_scope(scope):
        yield from each.steps


def every_call(scope: ScopeView) -> Iterator[StepView]:
    """All steps, and all compensations as if they were steps (without an id)."""
    for step in every_step(scope):
        yield step
        undo = step.words.get("compensate")
        if isinstance(undo, Mapping):
            yield StepView(child(step.pointer, "compensate"), undo, step.scope)


def every_site(scope: ScopeView) -> Iterator[Site]:
    """All values that may hold expressions."""
    for each in every_scope(scope):
        for step in each.steps:
            yield from _sites(step)
        if each.owner is not None and each.owner.type == "until" and "until" in each.words:
            yield Site(child(each.holder, "until"), each.words["until"], "until", each, None)
        if "output" in each.words:
            yield Site(child(each.holder, "output"), each.words["output"], "output", each, None)


def visible_variables(scope: ScopeView | None) -> Iterator[str]:
    """The loop variables seen in a scope."""
    while scope is not None:
        yield from scope.variables
        scope = scope.owner.scope if scope.owner else None


def sees(scope: ScopeView, step: StepView | None, name: str) -> StepView | None:
    """The step of that id that an expression sees from a step, or (None) from the end of the scope."""
    if step is None and name in scope.by_id:
        return scope.by_id[name]
    at: ScopeView | None = scope
    while at is not None:
        if step is not None and step.id in at.by_id and at.is_ancestor(name, step.id):
            return at.by_id[name]
        step = at.owner
        at = step.scope if step is not None else None
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _sites(step: StepView) -> Iterator[Site]:
    given = step.words.get("with")
    if "when" in step.words:
        yield Site(child(step.pointer, "when"), step.words["when"], "when", step.scope, step)
    if step.type == "foreach":
        if isinstance(given, Mapping) and "items" in given:
            yield Site(f"{step.pointer}/with/items", given["items"], "items", step.scope, step)
    elif given is not None and step.type not in ("until", "switch", "try"):
        yield Site(child(step.pointer, "with"), given, "with", step.scope, step)
    mock = step.words.get("mock")
    if isinstance(mock, Mapping) and "output" in mock:
        yield Site(f"{step.pointer}/mock/output", mock["output"], "mock", step.scope, step)
    if step.words.get("idempotency") is not None:
        yield Site(child(step.pointer, "idempotency"), step.words["idempotency"], "idempotency", step.scope, step)
    undo = step.words.get("compensate")
    if isinstance(undo, Mapping) and "with" in undo:
        yield Site(f"{step.pointer}/compensate/with", undo["with"], "compensate", step.scope, step)
    if step.type == "switch" and isinstance(step.words.get("cases"), list):
        for index, case in enumerate(step.words["cases"]):
            if isinstance(case, Mapping) and "when" in case:
                pointer = f"{step.pointer}/cases/{index}/when"
                yield Site(pointer, case["when"], "case", step.scope, step)


def _read_scope(
    holder: str,
    words: Mapping[str, Any],
    owner: StepView | None,
    depth: int,
    variables: tuple[str, ...] = (),
    named_at: str = "",
) -> ScopeView:
    scope = ScopeView(child(holder, "steps"), holder, words, owner, depth, variables, named_at)
    listed = words.get("steps")
    for index, step in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(step, Mapping):
            view = StepView(child(scope.pointer, index), step, scope)
            view.scopes.extend(_inner_scopes(view))
            scope.steps.append(view)
    return scope


def _inner_scopes(step: StepView) -> Iterator[ScopeView]:
    depth = step.scope.depth + 1
    if step.type in PLANNED_STEP_TYPES:
        return
    if isinstance(step.words.get("steps"), list):
        variables = () if step.type == "try" else _loop_variables(step)
        yield _read_scope(step.pointer, step.words, step, depth, variables, f"{step.pointer}/with/as")
    for word in ("cases", "catch"):
        listed = step.words.get(word)
        for index, branch in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(branch, Mapping):
                pointer = f"{step.pointer}/{word}/{index}"
                name = branch.get("as", "error")
                caught = (name,) if word == "catch" and isinstance(name, str) else ()
                yield _read_scope(pointer, branch, step, depth, caught, f"{pointer}/as")
    for word in ("default", "finally"):
        branch = step.words.get(word)
        if isinstance(branch, Mapping):
            yield _read_scope(f"{step.pointer}/{word}", branch, step, depth)


def _loop_variables(step: StepView) -> tuple[str, ...]:
    given = step.words.get("with")
    name = given.get("as") if isinstance(given, Mapping) and "as" in given else None
    if step.type == "until":
        name = "iteration" if name is None else name
        return (name,) if isinstance(name, str) else ()
    name = "item" if name is None else name
    return (name, f"{name}_index") if isinstance(name, str) else ()
