"""Segments, scopes, references, stages, and the stored form."""

import json
from typing import Any

import pytest

from nexusflow.workflows.planning.plan import Op, Plan
from nexusflow.workflows.planning.seriesparallel import MAX_NESTING, Tree
from tests.unit.workflows.definitions import compiled, foreach, step, switch


def _segments(plan: Plan, scope: str = "") -> dict[str, str]:
    """Steps of each segment of a scope → its queue."""
    found = {}
    for segment in plan.segments:
        if segment.scope == scope and segment.ops[0].kind in ("step", "open"):
            found["+".join(op.path for op in segment.ops)] = segment.queue
    return found


def until(name: str, *steps: dict[str, Any], needs: str = "", **more: Any) -> dict[str, Any]:
    """An until that ends when the input says so."""
    words = {"until": "${{ input.done }}", "steps": steps, **more}
    return {"id": name, "type": "until", "needs": needs.split(), **words}


def test_fuses_a_chain_of_one_queue_of_any_length() -> None:
    steps = [step(f"s{n}", "i", f"s{n - 1}" if n else "") for n in range(300)]
    assert len(_segments(compiled(*steps))) == 1


def test_cuts_where_the_queue_changes() -> None:
    plan = compiled(step("a", "i"), step("b", "i", "a"), step("c", "n", "b"))
    assert _segments(plan) == {"a+b": "integration", "c": "notification"}
    assert [plan.segments[n].follows for n in (0, 1)] == [(1,), (2,)]


def test_a_step_that_runs_anywhere_takes_its_neighbours_queue() -> None:
    assert _segments(compiled(step("a", "t"), step("b", "i", "a"), step("c", "t", "b"), step("d", "n", "c"))) == {
        "a+b+c": "integration",
        "d": "notification",
    }
    assert _segments(compiled(step("a", "t"), step("b", "t", "a"))) == {"a+b": "workflow"}


def test_fuses_nothing_that_would_let_a_follower_wait() -> None:
    plan = compiled(step("a", "i"), step("b", "i", "a"), step("c", "i", "a"))
    assert set(_segments(plan)) == {"a", "b", "c"}
    plan = compiled(step("a", "i"), step("b", "i"), step("c", "i", "a b"))
    assert set(_segments(plan)) == {"a", "b", "c"}


def test_fuses_no_join_of_another_kind() -> None:
    assert set(_segments(compiled(step("a"), step("b", needs="a", join="any_success")))) == {"a", "b"}
    assert set(_segments(compiled(step("a"), step("b", needs="a", join="all_done")))) == {"a+b"}


def test_an_opening_step_ends_its_segment() -> None:
    plan = compiled(step("a"), foreach("each", step("put", "i"), needs="a"), step("b", needs="each"))
    assert _segments(plan) == {"a+each": "workflow", "b": "workflow"}
    assert plan.segments[0].ops == (Op("step", "a"), Op("open", "each"))
    assert plan.segments[0].follows == ()


def test_a_foreach_is_closed_in_the_scope_it_stands_in() -> None:
    plan = compiled(foreach("each", step("put", "i")), step("b", needs="each"))
    closer = plan.segments[plan.closers["each"]]
    assert (closer.ops, closer.scope, closer.needs, closer.queue) == ((Op("close", "each"),), "", (), "workflow")
    assert [plan.segments[n].ops[0].path for n in closer.follows] == ["b"]
    scope = plan.scopes["each"]
    item = plan.segments[scope.finish]
    assert (item.ops, item.scope, item.needs, item.follows) == ((Op("item", "each"),), "each", ("each/put",), ())
    assert closer.id not in plan.scopes[""].entries


def test_each_branch_of_a_switch_closes_it() -> None:
    plan = compiled(switch("size", [step("a")], [step("b"), step("c")]), step("d", needs="size"))
    for path, needs in {"size/0": ("size/0/a",), "size/1": ("size/1/b", "size/1/c")}.items():
        finish = plan.segments[plan.scopes[path].finish]
        assert (finish.ops, finish.scope, finish.needs) == ((Op("close", "size"),), path, needs)
        assert [plan.segments[n].ops[0].path for n in finish.follows] == ["d"]
    assert plan.followers["size"] == plan.segments[plan.scopes["size/0"].finish].follows
    assert plan.closers == {}


def _finish(plan: Plan, scope: str) -> Op:
    (op,) = plan.segments[plan.scopes[scope].finish].ops
    return op


def test_an_until_is_ended_by_its_iterations() -> None:
    plan = compiled(until("poll", step("a"), step("b", "i", "a")), step("c", needs="poll"))
    assert _finish(plan, "poll") == Op("item", "poll")
    assert "poll" not in plan.closers
    assert plan.scopes["poll"].condition == "${{ input.done }}"
    assert [plan.segments[n].ops[0].path for n in plan.followers["poll"]] == ["c"]


def test_an_iteration_is_never_part_of_a_range() -> None:
    plan = compiled(until("poll", step("a")))
    assert plan.scopes["poll"].single is None


def test_an_until_reads_what_its_condition_names() -> None:
    plan = compiled(step("a"), until("poll", step("b"), needs="a", until="${{ steps.a.output == steps.b.output }}"))
    assert plan.scopes["poll"].refs == ("a", "poll/b")
    assert plan.steps["poll"].refs == ()


def test_a_try_has_a_handler_beside_it_and_an_end_in_each_part() -> None:
    catch = {"catch": [{"steps": [step("b")]}], "finally": {"steps": [step("c")]}}
    plan = compiled({"id": "guarded", "type": "try", "steps": [step("a")], **catch}, step("d", needs="guarded"))
    handler = plan.segments[plan.closers["guarded"]]
    assert (handler.ops, handler.scope, handler.needs, handler.follows) == ((Op("handle", "guarded"),), "", (), ())
    for part in ("try", "catch0", "finally"):
        assert _finish(plan, f"guarded/{part}") == Op("part", "guarded")
    assert plan.scopes[""].entries == (0,)
    assert [plan.segments[n].ops[0].path for n in plan.followers["guarded"]] == ["d"]


def test_a_compensation_is_a_segment_that_nothing_starts_by_itself() -> None:
    undo = {"type": "email.send", "with": {"x": "${{ steps.a.output + steps.before.output }}"}}
    guarded = {"id": "guarded", "type": "try", "needs": ["before"], "steps": [step("a", compensate=undo), step("b")]}
    plan = compiled(step("before"), guarded)
    number = plan.steps["guarded/try/a"].undo
    assert number is not None
    segment = plan.segments[number]
    assert (segment.ops, segment.scope) == ((Op("undo", "guarded/try/a"),), "guarded/try")
    assert (segment.queue, segment.needs, segment.follows) == ("notification", (), ())
    assert plan.steps["guarded/try/a"].undo_refs == ("before", "guarded/try/a")
    assert number not in plan.scopes["guarded/try"].entries
    assert plan.steps["guarded/try/b"].undo is None


def test_a_wait_ends_its_segment_and_is_closed_when_it_is_over() -> None:
    plan = compiled(
        step("a"),
        {"id": "rest", "type": "wait", "needs": ["a"], "with": {"duration": "${{ steps.a.output }}"}},
        step("b", needs="rest"),
    )
    assert _segments(plan) == {"a+rest": "workflow", "b": "workflow"}
    closer = plan.segments[plan.closers["rest"]]
    assert (closer.ops, closer.queue) == ((Op("close", "rest"),), "workflow")
    assert [plan.segments[n].ops[0].path for n in closer.follows] == ["b"]
    assert plan.steps["rest"].refs == ("a",)


def test_a_catch_reads_what_is_before_its_try_and_not_what_is_in_it() -> None:
    read = step("b", "t", **{"with": {"jq": "."}})
    guarded = {"id": "guarded", "type": "try", "needs": ["a"], "steps": [step("x")], "catch": [{"steps": [read]}]}
    assert compiled(step("a"), guarded).steps["guarded/catch0/b"].refs == ("a",)


def test_the_workflow_ends_when_all_its_last_steps_are_over() -> None:
    plan = compiled(step("a"), step("b", "i"), foreach("each", step("put")))
    end = plan.segments[plan.scopes[""].finish]
    assert (end.ops, end.needs, end.follows) == ((Op("end", ""),), ("a", "b", "each"), ())


def test_a_body_of_one_segment_runs_in_index_ranges() -> None:
    one = compiled(foreach("each", step("a", "i"), step("b", "i", "a")))
    assert one.scopes["each"].single == one.scopes["each"].entries[0]
    assert compiled(foreach("each", step("a", "i"), step("b", "n", "a"))).scopes["each"].single is None
    nested = compiled(foreach("each", step("a"), foreach("inner", step("b"), needs="a")))
    assert nested.scopes["each"].single is None
    assert nested.scopes["each/inner"].single is not None
    assert [nested.scopes[path].depth for path in ("", "each", "each/inner")] == [0, 1, 2]


def test_finds_references_from_the_innermost_scope_outward() -> None:
    plan = compiled(
        step("fetch", "i"),
        step("other", "i"),
        foreach(
            "each",
            step("other", "i"),
            step("put", "i", "other", **{"with": {"x": "${{ steps.fetch.output.a + steps.other.output }}"}}),
            needs="fetch other",
            output="${{ steps.put.output }} of ${{ steps.fetch.output }}",
        ),
        step("end", "n", "each", when="${{ steps.each.output != null }}"),
        output={"all": ["${{ steps.end.output }}"]},
    )
    assert plan.steps["each/put"].refs == ("each/other", "fetch")
    assert plan.scopes["each"].refs == ("each/put", "fetch")
    assert plan.steps["end"].refs == ("each",)
    assert plan.scopes[""].refs == ("end",)
    assert (plan.scopes["each"].last, plan.scopes[""].last) == ("each/put", "end")


def test_a_transform_without_input_reads_all_it_can_see() -> None:
    body = foreach("each", step("a"), step("b"), step("all", "t", "a", **{"with": {"jq": "."}}), needs="fetch")
    plan = compiled(step("start"), step("fetch", needs="start"), step("aside"), body)
    assert plan.steps["each/all"].refs == ("each/a", "fetch", "start")
    given = step("x", "t", "fetch", **{"with": {"jq": ".", "input": 1}})
    assert compiled(step("fetch"), given).steps["x"].refs == ()


def test_reading_all_steps_reads_all_that_can_be_seen() -> None:
    plan = compiled(step("a"), step("b"), step("c", "i", "a", **{"with": {"x": "${{ size(steps) }}"}}))
    assert plan.steps["c"].refs == ("a",)
    assert compiled(step("a"), step("b"), output="${{ steps }}").scopes[""].refs == ("a", "b")


def test_a_step_keeps_the_words_of_its_author() -> None:
    retry = {"max": 1, "initial": "2s"}
    plan = compiled(
        step("a", "t", **{"with": {"jq": ".", "input": None}}, retry=retry, timeout="1m", on_error="continue"),
        switch("size", [step("b")], needs="a", default={"steps": [step("c")], "output": "x"}),
    )
    spec = plan.steps["a"].spec
    assert (spec["type"], spec["with"], spec["timeout"], spec["on_error"]) == (
        "transform",
        {"jq": ".", "input": None},
        60.0,
        "continue",
    )
    assert (spec["retry"]["max"], spec["retry"]["initial"], plan.steps["a"].pure) == (1, 2.0, True)
    assert plan.steps["size"].spec["cases"] == [{"when": True, "output": None}]
    assert plan.steps["size"].spec["default"] == {"output": "x"}
    assert not plan.steps["size"].pure


def test_the_stored_form_gives_the_same_plan() -> None:
    plan = compiled(
        step("a", "i", **{"with": {"list": [1, None, {"x": "ü"}]}}),
        foreach("each", step("b"), step("c", "i"), step("d", "n", "b c", join={"n": 1}), needs="a", output={"y": 1}),
        switch("size", [step("e")], needs="each"),
        until(
            "poll", {"id": "f", "type": "try", "steps": [step("g")], "catch": [{"errors": ["A"], "steps": [step("h")]}]}
        ),
        {"id": "rest", "type": "wait", "with": {"duration": "1s"}},
    )
    assert Plan.from_json(json.loads(json.dumps(plan.to_json(), sort_keys=True))) == plan
    # jsonb forgets the order of keys: what order means something is kept in lists.
    stored = json.loads(json.dumps(plan.to_json(), sort_keys=True))
    assert list(Plan.from_json(stored).steps) == list(plan.steps)


def test_refuses_a_stored_form_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="format 99"):
        Plan.from_json({**compiled(step("a")).to_json(), "format": 99})


def _named(plan: Plan, scope: str = "") -> list[str]:
    """The stages, with steps for numbers: ``a``, ``chain(a group(b c) d)``."""

    def name(tree: Tree) -> str:
        if isinstance(tree, int):
            return "+".join(op.path for op in plan.segments[tree].ops)
        return f"{tree[0]}({' '.join(map(name, tree[1]))})"

    return [name(tree) for tree in plan.stages[scope]]


def test_says_sequences_and_groups_as_one_stage() -> None:
    diamond = compiled(step("a"), step("b", "i", "a"), step("c", "n", "a"), step("d", needs="b c"))
    assert _named(diamond) == ["chain(a group(b c) d)"]
    nested = compiled(
        step("a"),
        step("b", "i", "a"),
        step("c", "n", "b"),
        step("d", "w", "b"),
        step("e", "i", "c d"),
        step("f", needs="a"),
    )
    assert _named(nested) == ["chain(a group(chain(b group(c d) e) f))"]
    twice = compiled(step("a"), step("b", "i"), step("c", "i", "a b"), step("d", "n", "a b"))
    assert _named(twice) == ["chain(group(a b) group(c d))"]


def test_sees_through_edges_that_follow_from_others() -> None:
    assert _named(compiled(step("a"), step("b", "i", "a"), step("c", "n", "b a"))) == ["chain(a b c)"]


def test_leaves_to_gates_what_is_not_series_parallel() -> None:
    n_graph = compiled(step("a"), step("b", "i"), step("c", "i", "a"), step("d", "n", "a b"))
    assert _named(n_graph) == ["a", "b", "c", "d"]


def test_leaves_to_gates_what_may_overtake_and_what_is_decided_at_run_time() -> None:
    early = compiled(step("a"), step("b", "i"), step("c", "n", "a b", join="any_success"), step("d", "i", "c"))
    assert _named(early) == ["group(a b)", "chain(c d)"]
    loop = compiled(step("a"), foreach("each", step("x"), needs="a"), step("b", "i", "each"), step("c", "n", "each"))
    assert _named(loop) == ["a+each", "group(b c)"]


def test_what_a_quorum_overtakes_implies_nothing() -> None:
    plan = compiled(step("a"), step("b", "i"), step("c", "n", "a b", join="any_success"), step("d", "w", "c a"))
    assert all("chain" not in name for name in _named(plan))


def test_deep_nesting_is_cut_instead_of_overflowing() -> None:
    rungs = [step(f"s{n}", "wi"[n % 2], f"s{(n - 1) // 2 * 2}" if n else "") for n in range(2_000)]
    plan = compiled(*rungs)
    assert Plan.from_json(plan.to_json()) == plan
    assert max(len(place) for place in plan.places.values()) == MAX_NESTING
