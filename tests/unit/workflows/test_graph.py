"""Scopes, order, joins."""

import pytest

from nexusflow.workflows.planning.graph import GraphHasCycle, scope_graphs
from tests.unit.workflows.definitions import define, foreach, step, switch


def test_names_every_scope_by_its_path() -> None:
    inner = foreach("inner", step("deep"))
    graphs = scope_graphs(
        define(
            foreach("each", step("put"), inner),
            switch("size", [step("a")], [step("b")], default={"steps": [step("c")]}),
        )
    )
    assert {path: (g.kind, g.step, g.parent, g.depth) for path, g in graphs.items()} == {
        "": ("workflow", "", None, 0),
        "each": ("foreach", "each", "", 1),
        "each/inner": ("foreach", "each/inner", "each", 2),
        "size/0": ("branch", "size", "", 0),
        "size/1": ("branch", "size", "", 0),
        "size/default": ("branch", "size", "", 0),
    }
    assert list(graphs["each/inner"].steps) == ["each/inner/deep"]


def test_names_the_scopes_of_loops_and_tries() -> None:
    guarded = {
        "id": "guarded",
        "type": "try",
        "steps": [step("a")],
        "output": "x",
        "catch": [{"steps": [step("b")]}, {"errors": ["NO"], "steps": [step("c")], "output": "y"}],
        "finally": {"steps": [step("d")]},
    }
    poll = {"id": "poll", "type": "until", "until": "${{ input.done }}", "steps": [guarded], "output": "z"}
    graphs = scope_graphs(define(poll, {"id": "rest", "type": "wait", "with": {"duration": "1s"}}))
    assert {path: (g.kind, g.step, g.parent, g.depth, g.output) for path, g in graphs.items()} == {
        "": ("workflow", "", None, 0, None),
        "poll": ("until", "poll", "", 1, "z"),
        "poll/guarded/try": ("part", "poll/guarded", "poll", 1, "x"),
        "poll/guarded/catch0": ("part", "poll/guarded", "poll", 1, None),
        "poll/guarded/catch1": ("part", "poll/guarded", "poll", 1, "y"),
        "poll/guarded/finally": ("part", "poll/guarded", "poll", 1, None),
    }
    assert {path: g.condition for path, g in graphs.items() if g.condition} == {"poll": "${{ input.done }}"}


def test_orders_steps_behind_their_needs_and_else_as_written() -> None:
    graph = scope_graphs(define(step("last", needs="b a"), step("b"), step("a"), step("alone")))[""]
    assert graph.order == ("b", "a", "alone", "last")


def test_refuses_a_circle_and_names_its_steps() -> None:
    graph = scope_graphs(define(step("a"), step("b", needs="c a"), step("c", needs="b")))[""]
    with pytest.raises(GraphHasCycle, match="b, c") as caught:
        _ = graph.order
    assert caught.value.paths == ["b", "c"]


def test_counts_a_need_named_twice_once() -> None:
    graph = scope_graphs(define(step("a"), step("b", needs="a a")))[""]
    assert graph.needs["b"] == ("a",)
    assert graph.followers["a"] == ("b",)


def test_finds_all_ancestors() -> None:
    graph = scope_graphs(define(step("a"), step("b", needs="a"), step("c", needs="b"), step("d", needs="b")))[""]
    assert graph.ancestors("c") == {"a", "b"}


@pytest.mark.parametrize(
    ("join", "quorum"), [("all_success", None), ("all_done", None), ("any_success", 1), ({"n": 2}, 2)]
)
def test_reads_a_join_as_a_quorum(join: object, quorum: int | None) -> None:
    graph = scope_graphs(define(step("a"), step("b"), step("c", needs="a b", join=join)))[""]
    assert graph.quorum("c") == quorum


def test_a_scope_is_over_only_when_what_a_quorum_may_overtake_is_over_too() -> None:
    graph = scope_graphs(define(step("a"), step("b"), step("c", needs="a b", join="any_success")))[""]
    assert graph.last_steps == ("a", "b", "c")
    graph = scope_graphs(define(step("a"), step("b"), step("c", needs="a b", join="all_done")))[""]
    assert graph.last_steps == ("c",)
    graph = scope_graphs(define(step("a"), step("c", needs="a", join="any_success")))[""]
    assert graph.last_steps == ("c",)
