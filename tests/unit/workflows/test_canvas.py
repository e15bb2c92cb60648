"""Canvases: their shapes, what they carry, and the size of every message Celery makes of them."""

from typing import Any

import pytest
from celery.app.task import Context

from nexusflow.workflows.messaging.canvas import carried, chord_body, signatures
from nexusflow.workflows.planning.messages import LIMIT, RESERVE
from nexusflow.workflows.planning.plan import Plan
from tests.unit.workflows.celery_walk import CeleryWalk
from tests.unit.workflows.definitions import compiled, foreach, step

TENANT, RUN = "0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002"


@pytest.fixture(scope="module")
def walk() -> CeleryWalk:
    return CeleryWalk()


def _canvases(plan: Plan, ids: Any = None, item: str = "") -> list[Any]:
    return signatures(plan, plan.scopes[""].entries if ids is None else ids, tenant=TENANT, run=RUN, item=item)


def _shape(plan: Plan, canvas: Any) -> str:
    inside = canvas["kwargs"]
    match canvas["subtask_type"]:
        case None:
            return "+".join(op.path for op in plan.segments[canvas["args"][2]].ops)
        case "chord":
            header = " ".join(_shape(plan, task) for task in inside["header"])
            return f"chord({header}; {_shape(plan, inside['body'])})"
        case kind:
            return f"{kind}({' '.join(_shape(plan, task) for task in inside['tasks'])})"


def _shapes(plan: Plan, ids: Any = None) -> list[str]:
    return [_shape(plan, canvas) for canvas in _canvases(plan, ids)]


def _number(plan: Plan, path: str) -> int:
    return next(s.id for s in plan.segments if path in [op.path for op in s.ops])


def _diamond() -> Plan:
    return compiled(step("a"), step("b", "i", "a"), step("c", "n", "a"), step("d", needs="b c"), step("e", "i", "d"))


def _fan(width: int) -> Plan:
    members = [step(f"m{n}", "i", "a") for n in range(width)]
    return compiled(step("a"), *members, step("d", "n", " ".join(m["id"] for m in members)))


def test_a_segment_alone_is_an_immutable_signature_of_ids() -> None:
    (canvas,) = _canvases(compiled(foreach("each", step("a", "i"))), [2], item="7")
    assert (canvas.task, canvas.args, canvas.immutable) == (
        "tasks.workflow.run_segment",
        (TENANT, RUN, 2, "7", 0),
        True,
    )
    assert canvas.options["queue"] == "workflow"


def test_sequences_become_chains_and_joined_groups_chords() -> None:
    assert _shapes(compiled(step("a"), step("b", "i", "a"), step("c", "n", "b"))) == ["chain(a b c)"]
    assert _shapes(_diamond()) == ["chain(a chord(b c; d))"]
    assert _shapes(compiled(step("a"), step("b", "i"))) == ["group(a b)"]
    assert _shapes(compiled(step("a"), step("b", "i"), step("c", "n", "a b"), step("d", "i", "c"))) == ["chord(a b; c)"]


def test_a_graph_that_is_not_series_parallel_is_published_in_parts() -> None:
    plan = compiled(step("a"), step("b", "i"), step("c", "i", "a"), step("d", "n", "a b"))
    assert _shapes(plan) == ["a", "b"]
    assert _shapes(plan, [_number(plan, "d")]) == ["d"]


def test_a_part_of_a_group_is_published_without_its_join() -> None:
    plan = _diamond()
    b, c, d = (_number(plan, name) for name in "bcd")
    assert _shapes(plan, [b]) == ["b"]
    assert _shapes(plan, [c, b]) == ["chord(b c; d)"]
    assert _shapes(plan, [d]) == ["chain(d e)"]


def test_segments_of_several_stages_are_each_published_once() -> None:
    plan = compiled(
        *(step(name, "i") for name in "ab"),
        step("c", "n", "a b"),
        *(step(name, "w") for name in "pq"),
        step("r", "i", "q"),
    )
    assert _shapes(plan) == ["group(chord(a b; c) p chain(q r))"]
    a, b, p, q = (_number(plan, name) for name in "abpq")
    assert _shapes(plan, [q, a, p, b]) == ["group(chord(a b; c) p chain(q r))"]
    assert sorted(_shapes(plan, [q, a, b])) == ["chain(q r)", "chord(a b; c)"]
    assert sorted(_shapes(plan, [a, q])) == ["a", "chain(q r)"]


def test_a_wide_group_is_no_tail_but_a_chord_of_its_own() -> None:
    plan = _fan(200)
    assert _shapes(plan) == ["a"]
    members = [_number(plan, f"m{n}") for n in range(200)]
    (canvas,) = _canvases(plan, members)
    assert canvas["subtask_type"] == "chord"
    assert len(canvas["kwargs"]["header"]) == 200


def test_a_chain_is_cut_and_the_branch_it_is_in_joined_by_a_gate() -> None:
    links = [step(f"l{n}", "win"[n % 3], f"l{n - 1}" if n else "") for n in range(40)]
    (canvas,) = _canvases(compiled(*links))
    assert 6 <= len(canvas.tasks) <= 16
    plan = compiled(*links, step("short", "i"), step("join", "n", "l39 short"))
    (canvas,) = _canvases(plan)
    assert canvas["subtask_type"] == "group"
    assert "join" not in _shape(plan, canvas)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 8, 12, 40, 400])
def test_no_message_of_a_fan_is_over_the_limit(width: int, walk: CeleryWalk) -> None:
    plan = _fan(width)
    (first,) = walk.publish(_canvases(plan, item="123456789.123456789.123456789.123456789"))
    assert first.size <= LIMIT - RESERVE
    members = walk.finish(first)
    if not members:
        members = walk.publish(_canvases(plan, [_number(plan, f"m{n}") for n in range(width)]))
    assert len(members) == width
    assert max(member.size for member in members) <= LIMIT - RESERVE
    joined = [message for n, member in enumerate(members) for message in walk.finish(member, join=n == width - 1)]
    assert [message.segment for message in joined] == [_number(plan, "d")]


@pytest.mark.parametrize("item", ["", "0", "99999.99999", "9" * 200])
def test_no_message_of_a_long_chain_is_over_the_limit(item: str, walk: CeleryWalk) -> None:
    plan = compiled(*(step(f"l{n}", "win"[n % 3], f"l{n - 1}" if n else "") for n in range(100)))
    messages, published = walk.publish(_canvases(plan, item=item)), 1
    largest = messages[0].size
    while messages:
        (message,) = messages
        by_celery = carried(message.request)
        messages = walk.finish(message)
        assert {m.segment for m in messages} == by_celery
        if not messages and message.segment < 99:
            messages = walk.publish(_canvases(plan, [message.segment + 1], item=item))
        published += len(messages)
        largest = max([largest, *(m.size for m in messages)])
    assert published == 100
    assert LIMIT - RESERVE - 700 < largest <= LIMIT - RESERVE


@pytest.mark.parametrize("length", range(1, 14))
def test_a_branch_carries_its_joins_body_only_where_both_fit(length: int, walk: CeleryWalk) -> None:
    branch = [step(f"l{n}", "in"[n % 2], f"l{n - 1}" if n else "") for n in range(length)]
    plan = compiled(*branch, step("x", "w"), step("join", "w", f"x l{length - 1}"))
    bodies = set()
    for digits in range(0, 120, 6):
        messages = walk.publish(_canvases(plan, item="9" * digits))
        bodies |= {chord_body(message.request) for message in messages if message.segment == _number(plan, "x")}
        while messages:
            assert max(message.size for message in messages) <= LIMIT - RESERVE
            messages = [after for message in messages for after in walk.finish(message)]
    assert _number(plan, "join") in bodies or length > 6
    assert None in bodies or length < 10


def test_a_nested_chord_tells_each_member_its_own_body(walk: CeleryWalk) -> None:
    plan = compiled(
        step("a"),
        step("b", "i", "a"),
        step("c", "n", "a"),
        step("d", "i", "b c"),
        step("x", "i"),
        step("end", "n", "d x"),
    )
    assert _shapes(plan) == ["chord(chain(a chord(b c; d)) x; end)"]
    started = {m.segment: m for m in walk.publish(_canvases(plan))}
    a, b, c, d, x, end = (_number(plan, name) for name in ("a", "b", "c", "d", "x", "end"))
    assert set(started) == {a, x}
    assert (chord_body(started[a].request), chord_body(started[x].request)) == (None, end)
    assert carried(started[a].request) == {b, c}
    inner = {m.segment: m for m in walk.finish(started[a])}
    assert {chord_body(m.request) for m in inner.values()} == {d}
    assert walk.finish(inner[b]) == []
    (body,) = walk.finish(inner[c], join=True)
    assert (body.segment, chord_body(body.request), carried(body.request)) == (d, end, set())
    assert [m.segment for m in walk.finish(body, join=True)] == [end]


def test_reads_requests_as_a_task_sees_them(walk: CeleryWalk) -> None:
    plan = _diamond()
    (message,) = walk.publish(_canvases(plan))
    assert carried(Context(message.request)) == carried(message.request) == {_number(plan, "b"), _number(plan, "c")}
    members = walk.finish(message)
    assert {chord_body(Context(member.request)) for member in members} == {_number(plan, "d")}
    assert carried({"chain": None, "callbacks": None}) == set()
    assert carried({"chain": [], "callbacks": [dict(canvas) for canvas in _canvases(plan, [3])]}) == {3}
