"""Random definitions: DAGs of steps with random queues and joins, in nested scopes."""

from random import Random
from typing import Any

from nexusflow.workflows.language.definition import ActionInfo, Definition

CATALOGUE = {
    f"{queue}.act": ActionInfo(f"{queue}.act", {}, queue=queue, pure=queue == "any")
    for queue in ("workflow", "integration", "notification", "any")
}


def random_definition(dice: Random, size: int, *, scopes: bool = True, joins: bool = True) -> Definition:
    """A definition of about ``size`` steps in all its scopes."""
    left = [size]
    return Definition.model_validate(
        {"nexusflow": "1", "name": "random", "steps": _steps(dice, left, 0, scopes=scopes, joins=joins)}
    )


def random_series_parallel(dice: Random, size: int) -> Definition:
    """A definition of ``size`` steps that sequences and groups can say, with edges that follow from others."""
    steps: list[dict[str, Any]] = []
    before: dict[str, set[str]] = {}

    def grow(count: int, needs: list[str]) -> list[str]:
        if count == 1:
            name = f"s{len(steps)}"
            before[name] = set(needs).union(*(before[need] for need in needs))
            implied = [need for need in sorted(before[name]) if dice.random() < 0.1]
            steps.append({"id": name, "type": dice.choice(tuple(CATALOGUE)), "needs": [*needs, *implied]})
            return [name]
        part = dice.randint(1, count - 1)
        if dice.random() < 0.5:
            return grow(count - part, grow(part, needs))
        return grow(part, needs) + grow(count - part, needs)

    grow(size, [])
    return Definition.model_validate({"nexusflow": "1", "name": "random", "steps": steps})


def _steps(dice: Random, left: list[int], depth: int, *, scopes: bool, joins: bool) -> list[dict[str, Any]]:
    count = max(1, left[0] if depth == 0 else dice.randint(1, 1 + max(0, left[0]) // 3))
    dense = dice.choice((0.0, 0.2, 0.5, 0.9))
    steps: list[dict[str, Any]] = []
    while len(steps) < count and (left[0] > 0 or not steps):
        left[0] -= 1
        step: dict[str, Any] = {"id": f"s{len(steps)}", "needs": _needs(dice, len(steps), dense)}
        if joins and step["needs"] and dice.random() < 0.25:
            step["join"] = dice.choice(("all_done", "any_success", {"n": dice.randint(1, len(step["needs"]))}))
        if scopes and depth < 3 and dice.random() < 0.2:
            step |= _scope_step(dice, left, depth, joins=joins)
        else:
            step["type"] = dice.choice(tuple(CATALOGUE))
            if depth and dice.random() < 0.2:
                step["compensate"] = {"type": dice.choice(tuple(CATALOGUE))}
        steps.append(step)
    # The author's order need not be an order of execution.
    dice.shuffle(steps)
    return steps


def _needs(dice: Random, before: int, dense: float) -> list[str]:
    if before == 0 or dice.random() < 0.15:
        return []
    needs = {dice.randrange(max(0, before - 4), before)}
    while dice.random() < dense:
        needs.add(dice.randrange(before))
    return [f"s{number}" for number in sorted(needs)]


def _scope_step(dice: Random, left: list[int], depth: int, *, joins: bool) -> dict[str, Any]:
    def body() -> dict[str, Any]:
        return {"steps": _steps(dice, left, depth + 1, scopes=True, joins=joins)}

    kind = dice.choice(("foreach", "foreach", "switch", "switch", "until", "try", "wait", "workflow"))
    if kind == "foreach":
        return {"type": "foreach", "with": {"items": [1, 2]}, **body()}
    if kind == "until":
        return {"type": "until", "until": "${{ input.done }}", **body()}
    if kind == "wait":
        return {"type": "wait", "with": {"duration": "1s"}}
    if kind == "workflow":
        return {"type": "workflow", "with": {"workflow": "other", "wait": dice.random() < 0.7}}
    if kind == "try":
        catches = {"catch": [body() for _ in range(dice.randint(0, 2))]}
        return {"type": "try", **body(), **catches, **({"finally": body()} if dice.random() < 0.5 else {})}
    branches = {"cases": [{"when": True, **body()} for _ in range(dice.randint(1, 2))]}
    return {"type": "switch", **branches, **({"default": body()} if dice.random() < 0.5 else {})}
