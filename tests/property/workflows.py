"""Random workflows that need no vendor: computed steps, waits and failures, in nested scopes of every kind."""

from random import Random
from typing import Any

INPUT = {"list": [3, 5, 7], "one": 1, "empty": []}
WORDS = {"input": {"schema": {"type": "object", "properties": {name: {} for name in INPUT}}}}
MAX_DEPTH = 3
SUM = "([.. | numbers] | add // 0) + {0} | . % 1000"
"""What a step computes of the outputs it reads: their numbers' sum and its own number."""
SLOWLY = " + ([range(50000)] | length - length)"
"""What takes such a step some hundredths of a second more, so that others fail beside it."""
CODES = ["LATE", "OUT_OF_TEA", "OUT_OF_STOCK", "BAD"]
CLASSES = [
    ["OUT_*"],
    ["LATE", "LOST"],
    ["EXPRESSION_FAILED"],
    ["LOOP_*", "NOT_A_LIST"],
    ["provider", "timeout"],
    ["user"],
]
"""What catches and retry rules are for; ``any`` comes last."""


def random_workflow(dice: Random, size: int, *, alone: bool = False) -> dict[str, Any]:
    """A definition of about ``size`` steps in all its scopes; it may call those of ``CHILDREN``.

    ``alone``: it calls none, and waits for nothing from outside.
    """
    writer = _Writer(dice, size, [] if alone else list(CHILDREN), tries=True)
    writer.alone = alone
    return {"nexusflow": "1", "name": "random", **WORDS, **writer.body(0)}


def _children() -> dict[str, dict[str, Any]]:
    """Workflows to be called; each may call those before it. Without a try: how they end needs no word of theirs."""
    made: dict[str, dict[str, Any]] = {}
    for number in range(8):
        writer = _Writer(Random(number), 1 + number, list(made), tries=False)
        made[f"child-{number}"] = {"nexusflow": "1", "name": f"child-{number}", **WORDS, **writer.body(0)}
    return made


class _Writer:
    """``names``: what the loops and catches around let an expression read; ``tried``: how many tries are around."""

    def __init__(self, dice: Random, size: int, calls: list[str], *, tries: bool) -> None:
        self.dice, self.left, self.calls, self.alone = dice, size, calls, False
        self.kinds = [
            self._foreach,
            self._foreach,
            self._switch,
            self._until,
            *([self._try, self._try] if tries else []),
        ]
        self.names: list[str] = []
        self.tried = 0

    def body(self, depth: int, *names: str, output: bool = True) -> dict[str, Any]:
        """The words of a scope: its steps and perhaps its output; ``names``: what is read inside it alone."""
        self.names += names
        count = self.left if depth == 0 else self.dice.randint(1, 1 + max(0, self.left) // 3)
        steps: list[dict[str, Any]] = []
        while len(steps) < max(1, count) and (self.left > 0 or not steps):
            steps.append(self._step(f"s{depth}{len(steps)}", steps, depth))
        words: dict[str, Any] = {"steps": steps}
        if output and self.dice.random() < 0.4:
            words["output"] = [f"${{{{ {each} }}}}" for each in (*(f"steps.{s['id']}.output" for s in steps), *names)]
        # The author's order need not be an order of execution.
        self.dice.shuffle(steps)
        del self.names[len(self.names) - len(names) :]
        return words

    def _step(self, name: str, before: list[dict[str, Any]], depth: int) -> dict[str, Any]:
        dice = self.dice
        self.left -= 1
        needs = sorted({each["id"] for each in before[-4:] if dice.random() < 0.45})
        step: dict[str, Any] = {"id": name, "needs": needs}
        if needs and dice.random() < 0.35:
            step["join"] = dice.choice(["all_done", "all_done", "any_success", {"n": dice.randint(1, len(needs))}])
        readable = needs if step.get("join", "all_success") in ("all_success", "all_done") else []
        if dice.random() < 0.12:
            step["when"] = self._condition(readable)
        if dice.random() < 0.6:
            step["on_error"] = "continue"
        if depth < MAX_DEPTH and dice.random() < 0.3:
            return step | dice.choice(self.kinds)(depth, readable)
        return step | self._leaf(name, [f"steps.{need}.output" for need in readable])

    def _leaf(self, name: str, reads: list[str]) -> dict[str, Any]:
        dice = self.dice
        if dice.random() < 0.06:
            waits = [
                {"duration": "4ms"},
                {"until": "2020-01-01T00:00:00Z"},
                *([] if self.alone else [{"event": "nobody.sends", "timeout": "4ms"}]),
            ]
            return {"type": "wait", "with": dice.choice(waits)}
        if self.calls and dice.random() < 0.06:
            given = {
                name: f"${{{{ input.{name} }}}}" if dice.random() < 0.5 else value for name, value in INPUT.items()
            }
            return {"type": "workflow", "with": {"workflow": dice.choice(self.calls), "input": given}}
        retry = {"retry": self._retry()} if dice.random() < 0.3 else {}
        if dice.random() < 0.1:
            return {"type": "fail", "with": {"code": dice.choice(CODES), "message": "no good"}, **retry}
        reads += [each for each in self.names if dice.random() < 0.4]
        undo = {"compensate": self._compute([f"steps.{name}.output"], 0.15)} if dice.random() < 0.7 * self.tried else {}
        return {**self._compute(reads, 0.08), **retry, **undo}

    def _compute(self, reads: list[str], failing: float) -> dict[str, Any]:
        jq = 'error("no good")' if self.dice.random() < failing else SUM.format(self.dice.randrange(1000))
        jq += SLOWLY * (self.dice.random() < 0.1 and not jq.startswith("error"))
        return {"type": "transform", "with": {"input": [f"${{{{ {each} }}}}" for each in reads], "jq": jq}}

    def _retry(self) -> list[dict[str, Any]]:
        classes = self.dice.sample(CLASSES, self.dice.randint(1, 2))
        rules: list[dict[str, Any]] = [{"errors": each} for each in sorted(classes, key=CLASSES.index)]
        return [{**rule, "max": self.dice.randint(0, 2), "initial": "2ms"} for rule in rules]

    def _condition(self, needs: list[str]) -> str:
        if not needs:
            return self.dice.choice(["${{ input.one == 1 }}", "${{ input.one == 2 }}"])
        return f"${{{{ steps.{self.dice.choice(needs)}.state == 'succeeded' }}}}"

    def _foreach(self, depth: int, _needs: list[str]) -> dict[str, Any]:
        items = [[1, 2], [4, 5, 6, 7, 8, 9], "${{ input.empty }}", "${{ input.list }}", "${{ input.one }}"]
        given = {
            "items": self.dice.choice(items),
            "as": f"item{depth}",
            "max_parallel": self.dice.choice([1, 2, 20]),
            "on_item_error": self.dice.choice(["fail", "collect", "skip"]),
        }
        return {"type": "foreach", "with": given, **self.body(depth + 1, f"item{depth}", f"item{depth}_index")}

    def _switch(self, depth: int, needs: list[str]) -> dict[str, Any]:
        cases = [{"when": self._condition(needs), **self.body(depth + 1)} for _ in range(self.dice.randint(1, 2))]
        default = {"default": self.body(depth + 1)} if self.dice.random() < 0.5 else {}
        return {"type": "switch", "cases": cases, **default}

    def _until(self, depth: int, _needs: list[str]) -> dict[str, Any]:
        given: dict[str, Any] = {"as": f"pass{depth}", "max_iterations": self.dice.randint(1, 4)}
        if self.dice.random() < 0.3:
            given["delay"] = "3ms"
        words = self.body(depth + 1, f"pass{depth}.index", f"pass{depth}.previous")
        conditions = [f"${{{{ pass{depth}.index == {number} }}}}" for number in (1, 2)]
        condition = self.dice.choice([*conditions, self._condition([each["id"] for each in words["steps"]])])
        return {"type": "until", "with": given, "until": condition, **words}

    def _try(self, depth: int, _needs: list[str]) -> dict[str, Any]:
        self.tried += 1
        words = {"type": "try", **self.body(depth + 1)}
        self.tried -= 1
        classes: list[Any] = self.dice.sample(CLASSES, self.dice.randint(0, 2))
        classes += [None] * (self.dice.random() < 0.4)
        catches = [
            {
                "as": f"error{depth}",
                **({"errors": each} if each else {}),
                **self.body(depth + 1, f"size(error{depth}.code)"),
            }
            for each in classes
        ]
        last = {"finally": self.body(depth + 1, output=False)} if not catches or self.dice.random() < 0.4 else {}
        return words | ({"catch": catches} if catches else {}) | last


CHILDREN = _children()
