"""Rules about steps and what they need: ids, names, needs, cycles, joins, what can never run, and size."""

from collections.abc import Iterator, Mapping

from nexusflow.errors import Problem
from nexusflow.pointers import child
from nexusflow.suggestions import closest, hint_for
from nexusflow.workflows.evaluation.expressions import RESERVED_NAMES
from nexusflow.workflows.language.checking import MAX_NEEDS, MAX_SCOPE_DEPTH, Checking, written
from nexusflow.workflows.language.outline import ScopeView, StepView, every_scope, every_step, sees, visible_variables


def check_size(checking: Checking) -> Iterator[Problem]:
    """Too many steps, too many needs, scopes too deep inside each other."""
    document = checking.document
    steps = list(every_step(checking.outline))
    if len(steps) > checking.limits.steps:
        message = f"The workflow has {len(steps):,} steps; {checking.limits.steps:,} are allowed."
        yield document.problem(
            "/steps", "TOO_BIG", message, "Use a foreach over data, or split the workflow.", key=True
        )
    for step in steps:
        if len(step.needs) > MAX_NEEDS:
            message = f"{step.title} needs {len(step.needs):,} steps; {MAX_NEEDS:,} are allowed."
            pointer = child(step.pointer, "needs")
            yield document.problem(pointer, "TOO_BIG", message, "Join them in several stages.", key=True)
    for scope in every_scope(checking.outline):
        if scope.depth == MAX_SCOPE_DEPTH + 1:
            message = f"Steps are nested in more than {MAX_SCOPE_DEPTH} scopes here."
            yield document.problem(scope.pointer, "TOO_BIG", message, "Flatten the workflow.", key=True)


def check_ids(checking: Checking) -> Iterator[Problem]:
    """An id that is there twice in a scope, hides something seen from inside it, or is a word of the language."""
    for step in every_step(checking.outline):
        pointer, first = child(step.pointer, "id"), step.scope.by_id.get(step.id)
        if not step.id or first is None:
            continue
        owner = step.scope.owner
        hidden = sees(owner.scope, owner, step.id) if owner is not None else None
        if first is not step:
            line = checking.document.positions[child(first.pointer, "id")].line
            message = f"The id '{step.id}' is already taken by the step on line {line}."
            yield checking.document.problem(pointer, "DUPLICATE_ID", message, "Give each step of a scope its own id.")
        elif step.id in RESERVED_NAMES:
            message = f"'{step.id}' is a word of the expression language and cannot be a step's id."
            yield checking.document.problem(pointer, "RESERVED_NAME", message, f"Write {step.id}_step, say.")
        elif step.id in visible_variables(step.scope):
            message = f"The id '{step.id}' is also the name of a loop variable that is seen here."
            yield checking.document.problem(pointer, "SHADOWED_ID", message, "Rename the step or the loop variable.")
        elif hidden is not None:
            message = f"The id '{step.id}' hides the step '{step.id}' outside, which is seen from here."
            yield checking.document.problem(pointer, "SHADOWED_ID", message, "Rename one of the two.")


def check_loop_variables(checking: Checking) -> Iterator[Problem]:
    """A loop variable that is a word of the language or hides an outer one."""
    for scope in every_scope(checking.outline):
        if scope.owner is None or not scope.variables:
            continue
        pointer, name = scope.named_at, scope.variables[0]
        taken = RESERVED_NAMES.intersection(scope.variables)
        outer = set(visible_variables(scope.owner.scope)).intersection(scope.variables)
        holds = {"foreach": "the item", "until": "the iteration"}.get(scope.owner.type, "the error")
        hint = f"Name {holds} for what it is, with as: order, say."
        if taken:
            message = f"The variable '{name}' takes the name '{min(taken)}' of the expression language."
            yield checking.document.problem(pointer, "RESERVED_NAME", message, hint)
        elif outer:
            message = f"The variable '{name}' hides '{min(outer)}' of a scope around."
            yield checking.document.problem(pointer, "SHADOWED_ID", message, hint)


def check_needs(checking: Checking) -> Iterator[Problem]:
    """A need that names nothing, the step itself, a step of another scope, or the same step twice."""
    elsewhere = {step.id: step for step in every_step(checking.outline) if step.id}
    for step in every_step(checking.outline):
        named: set[str] = set()
        for need, pointer in step.needs:
            code, message, hint = "", "", ""
            if need == step.id:
                code, message, hint = "NEEDS_ITSELF", f"{step.title} needs itself.", "Remove it from the needs."
            elif need in named:
                code, message, hint = "DUPLICATE_NEED", f"'{need}' is in the needs twice.", "Remove one."
            elif need not in step.scope.by_id:
                code, message, hint = _unknown_need(step, need, elsewhere)
            named.add(need)
            if code:
                yield checking.document.problem(pointer, code, message, hint)


def _unknown_need(step: StepView, need: str, elsewhere: Mapping[str, StepView]) -> tuple[str, str, str]:
    others = [name for name in step.scope.by_id if name != step.id]
    if need not in elsewhere or closest(need, others):
        hint = hint_for(need, others, "Steps of this scope")
        return "UNKNOWN_NEED", f"{step.title} needs '{need}', which is no step of its scope.", hint
    message = f"{step.title} needs '{need}', which is a step of another scope."
    outer: ScopeView | None = step.scope
    while outer is not None and need not in outer.by_id:
        outer = outer.owner.scope if outer.owner else None
    hint = "Needs name steps of the same list; "
    if outer is None:
        return "UNKNOWN_NEED", message, hint + "need the foreach or switch that holds it instead."
    return "UNKNOWN_NEED", message, hint + "put it into the needs of the step that holds this scope."


def check_cycles(checking: Checking) -> Iterator[Problem]:
    """Steps that wait for each other in a circle."""
    for scope in every_scope(checking.outline):
        for cycle in _cycles(scope):
            pointer = child(scope.by_id[cycle[0]].pointer, "needs")
            shown = cycle if len(cycle) <= 12 else [*cycle[:10], "…", cycle[-1]]
            message = f"These steps need each other in a circle: {' → '.join([*shown, cycle[0]])}."
            yield checking.document.problem(pointer, "CYCLE", message, "Remove one of these needs.", key=True)


def _cycles(scope: ScopeView) -> Iterator[list[str]]:
    """One circle for each knot, in the order of the work (each step before the one that needs it)."""
    seen: set[str] = set()
    for start in (name for name in scope.by_id if name in scope.entangled):
        path: list[str] = []
        name: str | None = start
        while name is not None and name not in seen:
            seen.add(name)
            path.append(name)
            name = next((need for need in scope.edges[name] if need in scope.entangled), None)
        if name in path:
            yield list(reversed(path[path.index(name) :]))


def check_joins(checking: Checking) -> Iterator[Problem]:
    """A join that its needs can never meet."""
    for step in every_step(checking.outline):
        join, count = step.words.get("join"), len(step.needs)
        pointer = child(step.pointer, "join")
        if isinstance(join, Mapping) and isinstance(join.get("n"), int) and join["n"] > count:
            message = f"{step.title} waits for {join['n']} of its needs, and has {count}."
            hint = f"Write n: {count} or less, or add needs." if count else "Add needs, or remove the join."
            yield checking.document.problem(pointer, "JOIN_NEVER_MET", message, hint)
        elif isinstance(join, Mapping) and join.get("rest") == "cancel" and join.get("n") == count:
            message = f"{step.title} waits for all its needs: there is no rest of them to cancel."
            hint = "Remove rest, or write a smaller n."
            yield checking.document.problem(child(pointer, "rest"), "UNREACHABLE", message, hint)
        elif join == "any_success" and not count:
            message = f"{step.title} waits for one of its needs, and has none."
            yield checking.document.problem(pointer, "JOIN_NEVER_MET", message, "Add needs, or remove the join.")


def check_unreachable(checking: Checking) -> Iterator[Problem]:
    """What can never run: a condition that is written false, an empty list, a branch behind one that always runs."""
    document = checking.document
    for step in every_step(checking.outline):
        if written(step.words.get("when")) is False:
            message = f"{step.title} can never run: its condition is false."
            hint = "Remove the step, or give it a condition."
            yield document.problem(child(step.pointer, "when"), "UNREACHABLE", message, hint)
        given = step.words.get("with")
        if step.type == "foreach" and isinstance(given, Mapping) and given.get("items") == []:
            message = f"The steps of '{step.id}' can never run: its list is empty."
            hint = 'Name the list, such as items: "${{ input.orders }}".'
            yield document.problem(f"{step.pointer}/with/items", "UNREACHABLE", message, hint)
        if step.type == "switch":
            yield from _unreachable_branches(checking, step)


def _unreachable_branches(checking: Checking, step: StepView) -> Iterator[Problem]:
    always = 0
    cases = step.words.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        found = written(case.get("when")) if isinstance(case, Mapping) else None
        pointer = f"{step.pointer}/cases/{index}"
        if always:
            message = f"This branch can never run: case {always} is always true."
            yield checking.document.problem(pointer, "UNREACHABLE", message, f"Move it before case {always}.")
        elif found is False:
            message = "This branch can never run: its condition is false."
            hint = "Remove the branch, or give it a condition."
            yield checking.document.problem(f"{pointer}/when", "UNREACHABLE", message, hint)
        elif found is True:
            always = index + 1
    if always and isinstance(step.words.get("default"), Mapping):
        message = f"The default can never run: case {always} is always true."
        hint = f"Make case {always} the default."
        yield checking.document.problem(f"{step.pointer}/default", "UNREACHABLE", message, hint, key=True)
