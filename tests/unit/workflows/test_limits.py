"""Limits of a version: what a run with its input takes part in, and how they are told."""

from typing import Any

import pytest

from nexusflow.errors import InvalidInput
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.reports.drawing import draw
from nexusflow.workflows.reports.phrases import limits
from nexusflow.workflows.saved.catalogue import catalogue
from nexusflow.workflows.starts.limits import KEY_SHOWN, Limits, key_of

CUSTOMER = "${{ input.customer }}"


@pytest.mark.parametrize(
    ("template", "given", "key"),
    [
        (None, {}, None),
        (CUSTOMER, {"customer": "ACME"}, "ACME"),
        (CUSTOMER, {}, ""),
        (CUSTOMER, {"customer": None}, ""),
        (CUSTOMER, {"customer": {"b": 1, "a": [2]}}, '{"a":[2],"b":1}'),
        (CUSTOMER, {"customer": 7}, "7"),
        ("${{ input.a.b[1] }}-${{ input.c }}", {"a": {"b": [1, True]}, "c": "x"}, "true-x"),
        ("${{ input.a.b[1] }}", {"a": {"b": [1]}}, ""),
    ],
)
def test_a_key_is_looked_up_and_what_is_not_there_is_empty(
    template: str | None, given: dict[str, Any], key: str | None
) -> None:
    assert key_of(template, given) == key


def scope(config: dict[str, Any], given: dict[str, Any], workflow: str = "w") -> str:
    (slot,) = Limits.of(config).place(workflow, given)["slots"]
    return str(slot["scope"])


def test_what_is_counted_together_is_told_by_workflow_kind_and_key_and_not_by_the_number() -> None:
    one, same = ({"concurrency": {"limit": limit, "key": CUSTOMER}} for limit in (1, 9))
    assert scope(one, {"customer": "a"}) == scope(same, {"customer": "a"})
    assert scope({"concurrency": {"limit": 1}}, {}) == scope({"singleton": True}, {})
    rate = {"rate": {"limit": 1, "per": 60.0, "key": CUSTOMER}}
    others = {
        scope(one, {"customer": "b"}),
        scope(one, {"customer": "a"}, "v"),
        scope(rate, {"customer": "a"}),
        scope({"concurrency": {"limit": 1}}, {}),
        scope(one, {}),
    }
    assert len(others - {scope(one, {"customer": "a"})}) == 5


def test_a_long_key_is_told_apart_but_not_shown() -> None:
    config = {"concurrency": {"limit": 1, "key": CUSTOMER}}
    first, second = ("x" * KEY_SHOWN + end for end in "ab")
    assert scope(config, {"customer": first}) != scope(config, {"customer": second})
    assert Limits.of(config).place("w", {"customer": first})["slots"][0]["key"] is None


def test_a_priority_is_a_number_from_0_to_9() -> None:
    of_input = Limits.of({"priority": "${{ input.urgency }}"})
    assert of_input.are_there
    assert not Limits.of({"priority": 5}).are_there
    assert [of_input.place("w", given)["priority"] for given in ({"urgency": 9}, {"urgency": None}, {})] == [9, 5, 5]
    for wrong in (10, -1, True, 1.0, "9", [1]):
        with pytest.raises(InvalidInput, match=r"\(input.urgency\); it must be a whole number from 0 to 9"):
            of_input.place("w", {"urgency": wrong})


def test_limits_are_drawn_before_the_first_steps() -> None:
    text = f"""\
nexusflow: "1"
name: drawn
concurrency: [{{ limit: 1, key: "{CUSTOMER}", when_full: replace }}, {{ limit: 20, when_full: refuse }}]
rate: {{ limit: 100, per: 1m }}
debounce: {{ wait: 5s }}
priority: 9
steps: [{{ id: a, type: transform, with: {{ jq: . }} }}]
"""
    definition = parse_definition(text, catalogue())
    lines = limits(definition)
    assert lines == [
        "at most 1 run at once of each input.customer, the oldest makes way",
        "at most 20 runs at once, others are refused",
        "at most 100 runs in 1m",
        "the last run within 5s",
        "priority 9",
    ]
    plan = compile_plan(definition, catalogue())
    assert "    before it begins: at most 100 runs in 1m\n" in draw(plan, "text", "drawn", lines)
    picture = draw(plan, "mermaid", "drawn", lines)
    assert f'    turn{{{{"{"<br/>".join(lines)}"}}}}:::gate\n' in picture
    assert "    turn -.-> s0\n" in picture
