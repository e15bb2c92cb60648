"""Graphs of every shape, values at their limits, and steps that would take a worker with them."""

import time
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import chain, failing, foreach, switch, transform


def test_a_chain_of_three_hundred_steps(cluster: Cluster) -> None:
    names = [f"s{number}" for number in range(300)]
    steps = [transform(names[0], jq="1")]
    steps += [
        transform(name, before, ". + 1", given=f"${{{{ steps.{before}.output }}}}") for before, name in pairwise(names)
    ]
    assert cluster.run(steps, seconds=30).output == 300


def test_a_number_of_three_hundred_digits_goes_all_the_way(cluster: Cluster, vendor: Vendor) -> None:
    """PostgreSQL writes 1e300 out in digits."""
    steps = [transform("same", given="${{ input.x }}"), vendor.step("far", "same", body="${{ steps.same.output }}")]
    steps.append(
        transform("sum", "far", ".same.output + .in", given={"same": "${{ steps.same }}", "in": "${{ input.x }}"})
    )
    schema = {"schema": {"type": "object", "properties": {"x": {"type": "number"}}}}
    record = cluster.run(steps, {"x": 1e300}, input=schema)
    assert record.status == "succeeded", record.error
    assert record.output == 2e300


def test_a_chain_that_changes_queues_at_every_step(cluster: Cluster, vendor: Vendor) -> None:
    """More hops than one message carries; each queue's task starts the next queue's."""
    steps: list[dict[str, Any]] = [transform("s0", jq="0")]
    for number in range(1, 40):
        before = f"s{number - 1}"
        if number % 2:
            steps.append(vendor.step(f"s{number}", before, body={"answer": number}))
        else:
            # A quorum of one keeps a step from being fused to the one before it.
            steps.append(transform(f"s{number}", f"{before} s0", join={"n": 2}, jq=str(number)))
    record = cluster.run(steps, seconds=30)
    assert record.status == "succeeded"
    assert set(record.states.values()) == {"succeeded"}
    assert vendor.keys(record.id) == {f"s{number}": 1 for number in range(1, 40, 2)}


def test_a_wide_group_with_a_join(cluster: Cluster, vendor: Vendor) -> None:
    members = [vendor.step(f"s{number}", "start", body={"answer": number}) for number in range(60)]
    names = " ".join(member["id"] for member in members)
    record = cluster.run([transform("start"), *members, transform("end", names, jq="1")], seconds=30)
    assert record.status == "succeeded"
    assert vendor.keys(record.id) == {f"s{number}": 1 for number in range(60)}
    assert sum(step == "end" for _, step, _, _ in record.events) == 1


def test_a_join_waits_only_for_what_it_needs(cluster: Cluster, vendor: Vendor) -> None:
    """Not series-parallel (an N): x needs a and b, y needs b alone, and a is slow."""
    steps = [
        vendor.step("a", body={"sleep": 1.0}),
        vendor.step("b", body={}),
        vendor.step("x", "a b", body={}),
        vendor.step("y", "b", body={}),
    ]
    record = cluster.run(steps)
    ends = {call.key.rpartition("/")[2]: (call.at, call.until) for call in vendor.of(record.id)}
    assert ends["y"][1] < ends["a"][1] < ends["x"][0]


def test_a_quorum_does_not_wait_for_the_slow(cluster: Cluster, vendor: Vendor) -> None:
    steps = [
        vendor.step("slow", body={"sleep": 1.0}),
        vendor.step("quick", body={}),
        vendor.step("any", "slow quick", join="any_success", body={}),
    ]
    record = cluster.run(steps)
    calls = {call.key.rpartition("/")[2]: call for call in vendor.of(record.id)}
    assert record.status == "succeeded"
    assert calls["any"].until < calls["slow"].until
    assert record.steps["slow"].state == "succeeded"


def test_the_next_of_a_chain_does_not_wait_for_a_slow_sibling(cluster: Cluster, vendor: Vendor) -> None:
    """What Celery carries and what the runner goes on with itself start side by side, in any graph."""
    for seed in range(8):
        dice = Random(seed)
        steps = [vendor.step("s0", body={})]
        for number in range(1, 12):
            needs = {f"s{dice.randrange(max(0, number - 4), number)}" for _ in range(dice.randint(1, 2))}
            steps.append(vendor.step(f"s{number}", " ".join(sorted(needs)), body={"sleep": 0.15}))
        record = cluster.run(steps)
        calls = {call.key.rpartition("/")[2]: call for call in vendor.of(record.id)}
        for step in steps[1:]:
            ready = max(calls[need].until for need in step["needs"])
            assert calls[step["id"]].at - ready < 0.14, (seed, step["id"])


def test_scopes_nest_to_their_bound(cluster: Cluster) -> None:
    inner: list[dict[str, Any]] = [transform("leaf", jq="1")]
    for depth in range(4):
        inner = [switch(f"s{depth}", [("${{ 2 > 1 }}", inner)])]
        inner = [foreach(f"f{depth}", [1, 2] if depth < 2 else [1], *inner, **{"as": f"item{depth}"})]
    record = cluster.run(inner, seconds=30)
    assert record.output == [[[[1, 1], [1, 1]]]]


def test_a_failed_step_lets_the_running_finish_and_nothing_start(cluster: Cluster, vendor: Vendor) -> None:
    steps = [
        vendor.step("slow", body={"sleep": 0.6, "answer": 1}),
        vendor.step("bad", body={"sleep": 0.2, "status": 400}),
        vendor.step("after", "slow", body={}),
    ]
    record = cluster.run(steps)
    assert (record.status, record.error and record.error["step"]) == ("failed", "bad")
    assert record.states == {"slow": "succeeded", "bad": "failed"}
    assert vendor.keys(record.id) == {"slow": 1, "bad": 1}


def test_items_keep_to_max_parallel_also_when_two_steps_of_an_item_fail(cluster: Cluster, vendor: Vendor) -> None:
    pair = [vendor.step(name, body={"status": 400, "sleep": 0.02}) for name in ("a", "b")]
    record = cluster.run([foreach("each", list(range(12)), *pair, max_parallel=1, on_item_error="collect")])
    assert record.status == "succeeded"
    assert len(record.output) == 12
    assert vendor.peaks[record.id] <= 2


def test_a_large_foreach_runs_each_item_once(cluster: Cluster) -> None:
    record = cluster.run(
        [foreach("each", "${{ input.numbers }}", transform("put", given="${{ item }}", jq=". * 2"))],
        {"numbers": list(range(1500))},
        seconds=60,
        input={"schema": {"type": "object", "properties": {"numbers": {"type": "array"}}}},
    )
    assert record.output == [number * 2 for number in range(1500)]


@pytest.mark.parametrize(
    ("jq", "code"),
    [
        ("def f: f; f", "EXPRESSION_LIMIT"),
        ("[range(1e9)] | length", "EXPRESSION_LIMIT"),
        ('[limit(1000000; repeat("xxxxxxxxxxxxxxxxxxxx"))]', None),
    ],
)
def test_a_program_without_end_fails_its_step_alone(cluster: Cluster, jq: str, code: str | None) -> None:
    started = time.monotonic()
    record = cluster.run([transform("a", jq=jq)])
    assert time.monotonic() - started < 4
    assert record.status == "failed"
    assert record.error is not None
    assert code is None or record.error["code"] == code
    assert cluster.run(chain("a", "b")).status == "succeeded"


def test_a_value_over_the_limit_fails_its_step(cluster: Cluster) -> None:
    record = cluster.run([transform("a", jq='"x" * 5000000')])
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["code"] in ("VALUE_TOO_LARGE", "EXPRESSION_LIMIT")


def test_a_nul_in_an_output_fails_its_step(cluster: Cluster) -> None:
    record = cluster.run([transform("a", jq='{a: "x\\u0000"}')])
    assert record.error is not None
    assert record.error["code"] == "VALUE_NOT_STORABLE"


@pytest.mark.parametrize("letter", ["\x00", "\ud800"], ids=["nul", "half a pair"])
def test_an_error_that_quotes_a_letter_nobody_can_keep_is_recorded(
    cluster: Cluster, vendor: Vendor, letter: str
) -> None:
    """Vendors' words end up in errors, with whatever characters they have."""
    code = 0 if letter == "\x00" else 0xD800
    record = cluster.run([vendor.step("a", body={"status": 400, "letter": code})])
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["code"] == "HTTP_STATUS"


def test_a_failing_workflow_output_fails_the_run(cluster: Cluster) -> None:
    record = cluster.run([failing("a", on_error="continue"), transform("b")], output="${{ steps.a.output.x }}")
    assert record.status == "failed"
    assert record.live == 0
