"""Random workflows that need no vendor: computed steps, some failing, in nested scopes, with every join and policy."""

from random import Random
from typing import Any

INPUT = {"list": [3, 5, 7], "one": 1, "empty": []}
MAX_DEPTH = 3
SUM = "([.. | numbers] | add // 0) + {0} | . % 1000"
"""What a step computes of the outputs it reads: their numbers' sum and its own number."""


def random_workflow(dice: Random, size: int) -> dict[str, Any]:
    """A definition of about ``size`` steps in all its scopes."""
    writer = _Writer(dice, size)
    steps, output = writer.scope(0)
    return {"nexusflow": "1", "name": "random", "steps": steps, **({"output": output} if output is not None else {})}


class _Writer:
    def __init__(self, dice: Random, size: int) -> None:
        self.dice, self.left = dice, size
        self.loops: list[str] = []

    def scope(self, depth: int) -> tuple[list[dict[str, Any]], Any]:
        """The steps of a scope, and its output (None: the last step's)."""
        count = self.left if depth == 0 else self.dice.randint(1, 1 + max(0, self.left) // 3)
        steps: list[dict[str, Any]] = []
        while len(steps) < max(1, count) and (self.left > 0 or not steps):
            steps.append(self._step(f"s{depth}{len(steps)}", steps, depth))
        output = [f"${{{{ steps.{each['id']}.output }}}}" for each in steps] if self.dice.random() < 0.4 else None
        # The author's order need not be an order of execution.
        self.dice.shuffle(steps)
        return steps, output

    def _step(self, name: str, before: list[dict[str, Any]], depth: int) -> dict[str, Any]:
        dice = self.dice
        self.left -= 1
        needs = sorted({each["id"] for each in before[-4:] if dice.random() < 0.45})
        step: dict[str, Any] = {"id": name, "needs": needs}
        if needs and dice.random() < 0.35:
            step["join"] = dice.choice(["all_done", "all_done", "any_success", {"n": dice.randint(1, len(needs))}])
        settled = step.get("join", "all_success") in ("all_success", "all_done")
        if dice.random() < 0.12:
            step["when"] = self._condition(needs if settled else [])
        if dice.random() < 0.6:
            step["on_error"] = "continue"
        if depth < MAX_DEPTH and dice.random() < 0.22:
            return step | self._scope_step(depth, needs if settled else [])
        reads = [f"${{{{ steps.{need}.output }}}}" for need in needs] if settled else []
        if self.loops:
            name = dice.choice(self.loops)
            reads += [f"${{{{ {name} }}}}", f"${{{{ {name}_index }}}}"]
        jq = 'error("no good")' if dice.random() < 0.12 else SUM.format(dice.randrange(1000))
        return step | {"type": "transform", "with": {"input": reads, "jq": jq}}

    def _condition(self, needs: list[str]) -> str:
        if not needs:
            return self.dice.choice(["${{ input.one == 1 }}", "${{ input.one == 2 }}"])
        return f"${{{{ steps.{self.dice.choice(needs)}.state == 'succeeded' }}}}"

    def _scope_step(self, depth: int, needs: list[str]) -> dict[str, Any]:
        if self.dice.random() < 0.6:
            items = self.dice.choice(
                [[1, 2], [4, 5, 6, 7, 8, 9], "${{ input.empty }}", "${{ input.list }}", "${{ input.one }}"]
            )
            options = {
                "max_parallel": self.dice.choice([1, 2, 20]),
                "on_item_error": self.dice.choice(["fail", "collect", "skip"]),
            }
            self.loops.append(f"item{depth}")
            inner = self._body(depth)
            self.loops.pop()
            return {"type": "foreach", "with": {"items": items, "as": f"item{depth}", **options}, **inner}
        cases = [{"when": self._condition(needs), **self._body(depth)} for _ in range(self.dice.randint(1, 2))]
        default = {"default": self._body(depth)} if self.dice.random() < 0.5 else {}
        return {"type": "switch", "cases": cases, **default}

    def _body(self, depth: int) -> dict[str, Any]:
        steps, output = self.scope(depth + 1)
        return {"steps": steps, **({"output": output} if output is not None else {})}
