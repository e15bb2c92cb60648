"""What must hold for the plan and the canvas of any DAG."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.messaging.canvas import carried, chord_body, signatures
from nexusflow.workflows.planning.messages import LIMIT, RESERVE
from nexusflow.workflows.planning.plan import Plan, compile_plan
from nexusflow.workflows.planning.seriesparallel import Tree
from tests.property.definitions import CATALOGUE, random_definition, random_series_parallel
from tests.property.reference_run import ReferenceRun, Work
from tests.unit.workflows.celery_walk import CeleryWalk, Message

TENANT, RUN = "0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002"


def _nodes(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [node for part in tree[1] for node in _nodes(part)]


def _check_plan(plan: Plan) -> None:
    done = [op.path for segment in plan.segments for op in segment.ops if op.kind in ("step", "open")]
    assert sorted(done) == sorted(plan.steps)
    staged = sorted(node for stages in plan.stages.values() for tree in stages for node in _nodes(tree))
    assert staged == [s.id for s in plan.segments if s.ops[0].kind in ("step", "open")]
    assert Plan.from_json(plan.to_json()) == plan


def _run_by_plan(seed: int, size: int) -> None:
    dice = Random(seed)
    definition = random_definition(dice, size)
    plan = compile_plan(definition, CATALOGUE)
    _check_plan(plan)
    run = ReferenceRun(definition, plan, dice)
    left = run.start()
    while left:
        # A segment takes its time over each step: whatever may start by then must be in hand.
        run.assert_nothing_waits({(work.segment, work.item) for work in left})
        left += run.execute(left.pop(dice.randrange(len(left))))
    assert run.ended


def _run_by_canvas(dice: Random, definition: Definition, walk: CeleryWalk) -> int:
    """A run in which Celery's own tracer publishes what the canvas carries; gives the largest message's size."""
    plan = compile_plan(definition, CATALOGUE)
    run = ReferenceRun(definition, plan, dice)
    in_flight = _publish(walk, plan, run.start())
    largest = 0
    while in_flight:
        message = in_flight.pop(dice.randrange(len(in_flight)))
        largest = max(largest, message.size)
        ready = run.execute(Work(message.segment, message.item))
        by_celery = carried(message.request)
        assert by_celery <= {work.segment for work in ready}, "Celery publishes what is not ready"
        body = chord_body(message.request)
        left = [work for work in ready if work.segment not in by_celery and work.segment != body]
        in_flight += _publish(walk, plan, left)
        in_flight += walk.finish(message, join=body is not None and body in {work.segment for work in ready})
    assert run.ended
    assert run.claimed == run.fired, "something was ready and nobody published it"
    return largest


def _publish(walk: CeleryWalk, plan: Plan, ready: list[Work]) -> list[Message]:
    messages = []
    for item in dict.fromkeys(work.item for work in ready):
        segments = [work.segment for work in ready if work.item == item]
        canvases = signatures(plan, segments, tenant=TENANT, run=RUN, item=item)
        published = walk.publish(canvases)
        assert sorted(message.segment for message in published) == sorted(segments)
        messages += published
    return messages


@pytest.mark.parametrize("block", range(8))
def test_runs_every_step_once_after_its_needs_and_never_later(block: int) -> None:
    for seed in range(block * 500, block * 500 + 500):
        _run_by_plan(seed, size=1 + seed % 25)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 120))
def test_runs_every_step_once_in_larger_definitions(seed: int, size: int) -> None:
    _run_by_plan(seed, size)


@pytest.mark.parametrize("block", range(4))
def test_exactly_one_of_celery_and_runner_publishes_each_segment(block: int, walk: CeleryWalk) -> None:
    largest = 0
    for seed in range(block * 50, block * 50 + 50):
        dice = Random(seed)
        definition = random_definition(dice, 1 + seed % 30, joins=seed % 2 == 0)
        largest = max(largest, _run_by_canvas(dice, definition, walk))
    assert 1_000 < largest <= LIMIT - RESERVE


def test_says_every_series_parallel_graph_as_one_canvas_of_small_messages(walk: CeleryWalk) -> None:
    largest = 0
    for seed in range(300):
        dice = Random(seed)
        definition = random_series_parallel(dice, dice.randint(1, 30))
        assert len(compile_plan(definition, CATALOGUE).stages[""]) == 1
        if seed < 100:
            largest = max(largest, _run_by_canvas(dice, definition, walk))
    assert 2_500 < largest <= LIMIT - RESERVE


@pytest.mark.property
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("block", range(10))
def test_holds_for_many_more_definitions(block: int, walk: CeleryWalk) -> None:
    for seed in range(10_000 + block * 300, 10_000 + block * 300 + 300):
        _run_by_plan(seed, size=1 + seed % 200)
        dice = Random(seed)
        assert _run_by_canvas(dice, random_definition(dice, 1 + seed % 60), walk) <= LIMIT - RESERVE
        assert _run_by_canvas(dice, random_series_parallel(dice, 1 + seed % 100), walk) <= LIMIT - RESERVE
