"""Workflows that call workflows: the tree of runs, what ends it, and that each call starts one run whatever dies."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.operations.tenants import limit_tenant, list_tenants
from nexusflow.workflows.reports.listing import list_runs
from nexusflow.workflows.reports.report import read_run
from nexusflow.workflows.saved.library import publish_workflow
from nexusflow.workflows.starts.control import pause_run, resume_run
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform

TREE = sa.text("""
WITH RECURSIVE tree AS (
    SELECT id, parent_step, parent_item, status, version_id, 0 AS depth, workflow_id FROM runs WHERE id = :run
    UNION ALL
    SELECT r.id, r.parent_step, r.parent_item, r.status, r.version_id, t.depth + 1, r.workflow_id
    FROM runs r JOIN tree t ON r.parent_run = t.id)
SELECT t.*, v.number AS version FROM tree t JOIN workflow_versions v ON v.id = t.version_id ORDER BY t.id
""")
KILLS = 6
PROMPT = 15.0
"""Seconds within which a tree that was cancelled is over, and some for a slow machine."""


def call(name: str, workflow: str, needs: str = "", given: Any = None, **words: Any) -> dict[str, Any]:
    """A step that calls a workflow."""
    options = {word: words.pop(word) for word in ("version", "wait") if word in words}
    inner = {"workflow": workflow, "input": given or {}, **options}
    return {"id": name, "type": "workflow", "needs": needs.split(), "with": inner, **words}


def tree(cluster: Cluster, run: str) -> list[Any]:
    """The run and all below it."""
    with cluster.active(), tenant_session(cluster.tenant) as connection:
        return list(connection.execute(TREE, {"run": run}).all())


def save(cluster: Cluster, name: str, steps: list[dict[str, Any]], **words: Any) -> Any:
    return cluster.save({"nexusflow": "1", "name": name, "steps": steps, **words})


def test_a_tree_of_runs_is_seen_from_both_ends(cluster: Cluster, vendor: Vendor) -> None:
    save(
        cluster, "leaf", [vendor.step("put", body={"answer": "${{ input.n }}"})], output="${{ steps.put.output.body }}"
    )
    save(cluster, "branch", [foreach("each", [1, 2], call("down", "leaf", given={"n": "${{ item }}"}))])
    run = cluster.start([call("one", "branch"), call("two", "leaf", "one", {"n": 3})])
    record = cluster.finish(run)
    assert (record.status, record.output) == ("succeeded", 3)
    assert record.steps["one"].output == [1, 2]
    found = tree(cluster, run)
    told = sorted((each.depth, each.parent_step or "", each.parent_item or "", each.status) for each in found)
    done = "succeeded"
    direct = [(0, "", "", done), (1, "one", "", done), (1, "two", "", done)]
    assert told == [*direct, (2, "each/down", "0", done), (2, "each/down", "1", done)]
    child = next(str(each.id) for each in found if each.parent_step == "one")
    with cluster.active():
        assert read_run(cluster.tenant, child).run.parent == {"run_id": run, "step": "one", "item": None}
        report = next(each for each in read_run(cluster.tenant, run).steps if each.path == "one")
        assert [(each.id, each.workflow, each.status) for each in report.children] == [(child, "branch", done)]
        assert {each.trigger for each in list_runs(cluster.tenant, parent=child).items} == {"workflow"}
        assert list_runs(cluster.tenant, parent=child).total == 2


def test_a_run_calls_the_versions_of_its_beginning(cluster: Cluster, vendor: Vendor) -> None:
    first = save(cluster, "pinned", [transform("a", jq="1")])
    with cluster.active():
        publish_workflow(cluster.tenant, first.workflow)
    slow = vendor.step("slow", body={"sleep": 0.6})
    run = cluster.start(
        [call("early", "pinned"), slow, call("late", "pinned", "slow"), call("other", "pinned", "slow", version=2)]
    )
    cluster.until(lambda: bool(vendor.of(run)), "it is under way")
    save(cluster, "pinned", [transform("a", jq="2")])
    with cluster.active():
        publish_workflow(cluster.tenant, first.workflow)
    record = cluster.finish(run)
    assert [record.steps[step].output for step in ("early", "late", "other")] == [1, 1, 2]
    assert cluster.run([call("next", "pinned")]).output == 2


def test_a_child_that_fails_tells_where(cluster: Cluster) -> None:
    save(cluster, "broken", [{"id": "stop", "type": "fail", "with": {"code": "NO_STOCK", "message": "nothing left"}}])
    run = cluster.start([call("buy", "broken")])
    record = cluster.finish(run)
    (child,) = [str(each.id) for each in tree(cluster, run) if each.depth]
    told = {name: (record.error or {}).get(name) for name in ("code", "message", "cause", "step", "called")}
    called = {"run": child, "step": "stop"}
    assert told == {"code": "NO_STOCK", "message": "nothing left", "cause": "user", "step": "buy", "called": called}
    assert (record.status, record.cause) == ("failed", "user")


def _waiting_tree(cluster: Cluster, vendor: Vendor) -> str:
    """A run that waits for one that waits for two, of which one is at work and one waits."""
    rest = {"id": "rest", "type": "wait", "with": {"duration": "1h"}}
    save(cluster, "resting", [rest, vendor.step("work", body={"sleep": 1.5}), vendor.step("next", "work rest")])
    save(cluster, "middle", [foreach("each", [1, 2], call("down", "resting"))])
    run = cluster.start([call("call", "middle"), transform("after", "call")])
    cluster.until(
        lambda: sum(each.depth == 2 and each.status == "running" for each in tree(cluster, run)) == 2, "it runs"
    )
    return run


def test_a_tree_is_cancelled_from_its_root(cluster: Cluster, vendor: Vendor) -> None:
    run = _waiting_tree(cluster, vendor)
    cluster.cancel(run)
    runs = [str(each.id) for each in tree(cluster, run)]
    assert len(runs) == 4
    cluster.finish_all(runs, PROMPT)
    assert {cluster.read(each).status for each in runs} == {"cancelled"}
    assert {cluster.read(each).live for each in runs} == {0}
    assert {(cluster.read(each).error or {})["code"] for each in runs} == {"CANCELLED", "PARENT_ENDED"}


def test_a_tree_is_cancelled_while_no_worker_lives(make_cluster: Callable[..., Cluster], vendor: Vendor) -> None:
    cluster = make_cluster()
    cluster.beat()
    worker = cluster.worker()
    cluster.wait_ready()
    run = _waiting_tree(cluster, vendor)
    worker.kill()
    cluster.cancel(run)
    runs = [str(each.id) for each in tree(cluster, run)]
    cluster.finish_all(runs, PROMPT)
    assert {cluster.read(each).status for each in runs} == {"cancelled"}


def test_a_child_that_is_cancelled_fails_its_step(cluster: Cluster) -> None:
    save(cluster, "sleeper", [{"id": "rest", "type": "wait", "with": {"duration": "1h"}}])
    run = cluster.start(
        [
            call("a", "sleeper", on_error="continue"),
            transform("b", "a", join="all_done", given="${{ steps.a.error.code }}"),
        ]
    )
    cluster.until(lambda: len(tree(cluster, run)) == 2, "the child is there")
    cluster.cancel(str(tree(cluster, run)[1].id))
    assert cluster.finish(run).output == "CANCELLED"


def test_a_tree_is_paused_and_goes_on(cluster: Cluster, vendor: Vendor) -> None:
    save(cluster, "steady", [vendor.step("a", body={"sleep": 0.4}), transform("b", "a", jq="7")])
    run = cluster.start([call("call", "steady"), transform("after", "call", given="${{ steps.call.output }}")])
    cluster.until(lambda: len(tree(cluster, run)) == 2, "the child is there")
    with cluster.active():
        pause_run(cluster.tenant, run)
    time.sleep(1.2)
    assert {each.status for each in tree(cluster, run)} == {"paused"}
    with cluster.active():
        resume_run(cluster.tenant, run)
    assert cluster.finish(run).output == 7


def test_what_nobody_waits_for_outlives_its_caller(cluster: Cluster, vendor: Vendor) -> None:
    save(cluster, "alone", [vendor.step("a", body={"sleep": 0.6}), transform("b", "a", jq="1")])
    run = cluster.start([call("go", "alone", wait=False), {"id": "rest", "type": "wait", "with": {"duration": "1h"}}])
    cluster.until(lambda: cluster.read(run).states.get("go") == "succeeded", "it is started")
    cluster.cancel(run)
    child = cluster.read(run).steps["go"].output["run_id"]
    assert cluster.finish(run).status == "cancelled"
    assert cluster.finish(child).status == "succeeded"


def test_a_try_that_fails_waits_until_its_children_are_over(cluster: Cluster, vendor: Vendor) -> None:
    save(cluster, "long", [vendor.step("a", body={"sleep": 1.2}), vendor.step("never", "a")])
    undone = vendor.step("paid", body={"answer": 1}, compensate={"type": "transform", "with": {"input": 1, "jq": "."}})
    stop = {"id": "stop", "type": "fail", "needs": ["pause"], "with": {"code": "NO", "message": "no"}}
    pause = {"id": "pause", "type": "wait", "needs": ["paid"], "with": {"duration": "400ms"}}
    steps = [undone, call("long", "long", "paid"), pause, stop]
    run = cluster.start(
        [{"id": "guarded", "type": "try", "steps": steps, "catch": [{"steps": [transform("caught", jq="2")]}]}]
    )
    record = cluster.finish(run)
    assert (record.status, record.output) == ("succeeded", 2)
    child = cluster.read(str(tree(cluster, run)[1].id))
    assert (child.status, child.states.get("never")) == ("cancelled", None)
    with cluster.active(), tenant_session(cluster.tenant) as connection:
        ended = connection.execute(
            sa.text("SELECT finished_at FROM runs WHERE id = :run"), {"run": child.id}
        ).scalar_one()
    assert ended <= record.steps["guarded/try/paid/compensate"].started


def test_each_call_starts_one_run_whatever_dies(make_cluster: Callable[..., Cluster], vendor: Vendor) -> None:
    cluster = make_cluster()
    cluster.beat()
    worker = cluster.worker()
    cluster.wait_ready()
    save(
        cluster,
        "leaf",
        [vendor.step("put", body={"sleep": 0.05, "answer": "${{ input.n }}"})],
        output="${{ steps.put.output.body }}",
    )
    numbers = transform("numbers", jq="[range(12)]")
    each = foreach(
        "each", "${{ steps.numbers.output }}", call("down", "leaf", given={"n": "${{ item }}"}), needs="numbers"
    )
    version = cluster.save([numbers, each])
    runs = [cluster.start(version) for _ in range(4)]
    for _ in range(KILLS):
        time.sleep(0.4)
        worker.kill()
        worker.start()
    cluster.finish_all(runs, 60)
    for run in runs:
        record = cluster.read(run)
        assert (record.status, record.output) == ("succeeded", list(range(12))), record.error
        below = [(each.parent_step, each.parent_item) for each in tree(cluster, run) if each.depth]
        assert len(below) == len(set(below)) == 12
        for each in tree(cluster, run):
            assert each.status == "succeeded"


def test_a_child_never_waits_for_the_slot_of_its_caller(cluster: Cluster) -> None:
    below = call("below", "deep", given={"n": "${{ input.n - 1 }}"}, when="${{ input.n > 0 }}")
    deep = {"steps": [below], "concurrency": {"limit": 1}, "output": "${{ input.n }}"}
    version = cluster.save({"nexusflow": "1", "name": "deep", **deep})
    runs = [cluster.start(version, {"n": 3}) for _ in range(3)]
    cluster.finish_all(runs)
    assert {cluster.read(run).status for run in runs} == {"succeeded"}
    begun = sorted((each.started_at, each.finished_at) for run in runs for each in _times(cluster, run))
    assert all(before[1] <= after[0] for before, after in pairwise(begun)), "one at a time"
    again = call("again", "alone", given={"n": 0}, when="${{ input.n > 0 }}")
    alone = cluster.save({"nexusflow": "1", "name": "alone", "steps": [again], "singleton": True})
    assert cluster.finish(cluster.start(alone, {"n": 1})).status == "succeeded"


def test_children_take_no_room_of_their_tenants(cluster: Cluster, vendor: Vendor) -> None:
    save(cluster, "inner", [vendor.step("a", body={"sleep": 0.05})], concurrency={"limit": 2})
    with cluster.active():
        name = next(each.name for each in list_tenants() if each.id == cluster.tenant)
        limit_tenant(name, {"running": 1})
    try:
        each = foreach("each", [1, 2, 3], call("down", "inner"))
        runs = [cluster.start([each]) for _ in range(2)]
        cluster.finish_all(runs)
    finally:
        with cluster.active():
            limit_tenant(name, {"running": None})
    assert {cluster.read(run).status for run in runs} == {"succeeded"}


def _times(cluster: Cluster, run: str) -> list[Any]:
    with cluster.active(), tenant_session(cluster.tenant) as connection:
        asked = sa.text("SELECT started_at, finished_at FROM runs WHERE id = :run")
        return list(connection.execute(asked, {"run": run}).all())
