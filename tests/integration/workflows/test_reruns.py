"""Runs that are repeated: what is kept, what is done, and under which keys a vendor sees it."""

from typing import Any

import pytest

from nexusflow.errors import Conflict, InvalidInput, NotFound
from nexusflow.workflows.reports.report import read_run
from nexusflow.workflows.saved import library
from nexusflow.workflows.starts.bulk import rerun_each
from nexusflow.workflows.starts.control import cancel_run
from nexusflow.workflows.starts.rerun_preview import preview
from nexusflow.workflows.starts.rerunning import Asked, Rerun, rerun
from nexusflow.workflows.starts.service import Version
from tests.integration.cluster import Cluster
from tests.integration.records import RunRecord
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import failing, foreach, switch, transform

ONCE = {"fail": 1, "status": 400}
"""A vendor that refuses the first call under a key, and does the next one."""


def repeat(cluster: Cluster, run: str, begin: str | None = None, **words: Any) -> Rerun:
    with cluster.active():
        return rerun(cluster.tenant, run, Asked(begin, **words))


def again(cluster: Cluster, run: str, begin: str | None = None, **words: Any) -> RunRecord:
    """Repeat a run, to the end of the new one."""
    return cluster.finish(repeat(cluster, run, begin, **words).id)


def effects(cluster: Cluster, run: str, begin: str | None = None) -> set[tuple[str, str, str, int | None]]:
    with cluster.active():
        found = preview(cluster.tenant, run, Asked(begin)).effects
    return {(each.step, each.was, each.keys, each.times) for each in found}


def undoable(vendor: Vendor, name: str, needs: str = "") -> dict[str, Any]:
    undo = {"type": "http.request", "with": {"method": "POST", "url": vendor.url, "body": {}}}
    return vendor.step(name, needs, compensate=undo)


def test_what_succeeded_is_kept_and_what_failed_comes_under_its_old_key(cluster: Cluster, vendor: Vendor) -> None:
    steps = [
        vendor.step("first", body={"answer": 1}),
        {"id": "rest", "type": "wait", "needs": ["first"], "with": {"duration": "1s"}},
        transform("sum", "rest", given="${{ steps.first.output.body }}", jq=". + 1"),
        vendor.step("bad", "sum", body={**ONCE, "answer": "${{ steps.sum.output }}"}),
        vendor.step("last", "bad", body={"answer": "${{ steps.bad.output.body }}"}),
    ]
    before = cluster.run(steps, output="${{ steps.last.output.body }}")
    assert (before.status, before.states["bad"]) == ("failed", "failed")
    assert effects(cluster, before.id) == {("bad", "unfinished", "same", 1), ("last", "not begun", "same", 1)}
    record = again(cluster, before.id)
    assert (record.status, record.output) == ("succeeded", 2)
    assert vendor.keys(before.id) == {"first": 1, "bad": 2, "last": 1}
    assert not vendor.of(record.id)
    assert record.steps["first"].finished == before.steps["first"].finished
    assert {step for kind, step, _, _ in record.events if kind == "step.succeeded"} == {"bad", "last"}
    assert cluster.read(before.id) == before
    with cluster.active():
        told = read_run(cluster.tenant, record.id)
        assert (told.run.rerun_of, told.run.rerun_from, told.run.trigger) == (before.id, "failed", "rerun")
        assert read_run(cluster.tenant, before.id).run.reruns == (record.id,)
    assert {step.path: step.note for step in told.steps} == {"bad": "", "last": ""} | dict.fromkeys(
        ("first", "rest", "sum"), "kept"
    )


def test_a_rerun_can_be_repeated_and_a_vendor_still_knows_the_step(cluster: Cluster, vendor: Vendor) -> None:
    steps = [vendor.step("first"), vendor.step("bad", "first", body={"fail": 2, "status": 400})]
    before = cluster.run(steps)
    second = again(cluster, before.id)
    third = again(cluster, second.id)
    assert [each.status for each in (before, second, third)] == ["failed", "failed", "succeeded"]
    assert vendor.keys(before.id) == {"first": 1, "bad": 3}
    anew = again(cluster, third.id, "bad")
    assert (anew.status, vendor.keys(anew.id)) == ("failed", {"bad": 1})
    assert again(cluster, anew.id).status == "failed", "its third call, under its second key"
    assert vendor.keys(anew.id) == {"bad": 2}
    assert vendor.keys(before.id) == {"first": 1, "bad": 3}


@pytest.mark.parametrize("on_item_error", ["collect", "fail"])
def test_items_that_succeeded_are_not_done_again(cluster: Cluster, vendor: Vendor, on_item_error: str) -> None:
    bodies = [{"answer": n} | (ONCE if n % 7 == 3 else {}) for n in range(30)]
    words = {"needs": "make", "max_parallel": 3, "on_item_error": on_item_error}
    put = vendor.step("put", body="${{ item }}")
    each = foreach("each", "${{ steps.make.output }}", put, output="${{ steps.put.output.body }}", **words)
    record = before = cluster.run([transform("make", given=bodies), each, transform("last", "each")])
    assert before.status == ("succeeded" if on_item_error == "collect" else "failed")
    for _ in range(9):
        record = again(cluster, record.id)
        if record.status == "succeeded":
            break
    assert record.steps["each"].output == list(range(30))
    assert vendor.keys(before.id) == {f"each/put/{n}": 2 if n % 7 == 3 else 1 for n in range(30)}
    assert record.steps["each"].state == "succeeded"


def test_items_of_several_segments_go_on_where_they_were(cluster: Cluster, vendor: Vendor) -> None:
    bodies = [{"answer": n} | (ONCE if n == 5 else {}) for n in range(8)]
    inner = [vendor.step("a"), vendor.step("b", body="${{ item }}"), vendor.step("c", "a b")]
    words = {"max_parallel": 2, "on_item_error": "collect"}
    each = foreach("each", "${{ input.list }}", *inner, output="${{ steps.b.output.body }}", **words)
    before = cluster.finish(cluster.start([each], {"list": bodies}, input=OBJECT))
    record = again(cluster, before.id)
    assert (record.status, record.output) == ("succeeded", list(range(8)))
    seen = vendor.keys(before.id)
    assert seen.pop("each/b/5") == 2
    assert set(seen.values()) == {1}
    assert len(seen) == 23


OBJECT = {"schema": {"type": "object"}}


def test_what_was_undone_is_done_again_under_a_new_key(cluster: Cluster, vendor: Vendor) -> None:
    body = [undoable(vendor, "pay"), vendor.step("aside"), vendor.step("send", "pay", body=ONCE)]
    last = {"steps": [vendor.step("free")]}
    order = {"id": "order", "type": "try", "steps": body, "finally": last}
    before = cluster.run([vendor.step("ask"), {**order, "needs": ["ask"]}, vendor.step("tell", "order")])
    assert before.status == "failed"
    assert vendor.keys(before.id)["order/try/pay/compensate"] == 1
    assert effects(cluster, before.id) == {
        ("order/try/pay", "succeeded", "new", 1),
        ("order/try/send", "unfinished", "same", 1),
        ("order/finally/free", "succeeded", "new", 1),
        ("tell", "not begun", "same", 1),
    }
    record = again(cluster, before.id)
    assert record.status == "succeeded"
    assert vendor.keys(record.id) == {"order/try/pay": 1, "order/finally/free": 1}
    seen = vendor.keys(before.id)
    assert {key: count for key, count in seen.items() if count > 1} == {"order/try/send": 2}
    assert seen["tell"] == seen["ask"] == seen["order/try/aside"] == 1


def test_a_failure_that_was_caught_stays_caught(cluster: Cluster, vendor: Vendor) -> None:
    catch = [{"steps": [vendor.step("save")]}]
    order = {"id": "order", "type": "try", "steps": [vendor.step("send", body=ONCE)], "catch": catch}
    before = cluster.run([order, vendor.step("bad", "order", body=ONCE)])
    record = again(cluster, before.id)
    assert record.status == "succeeded"
    assert vendor.keys(before.id) == {"order/try/send": 1, "order/catch0/save": 1, "bad": 2}
    assert record.states["order/try/send"] == "failed"


def test_an_until_goes_on_in_the_iteration_that_failed(cluster: Cluster, vendor: Vendor) -> None:
    note = {"status": 400, "fail": "${{ iteration.index == 1 ? 1 : 0 }}", "answer": "${{ iteration.index }}"}
    poll = {
        "id": "poll",
        "type": "until",
        "until": "${{ iteration.index == 3 }}",
        "with": {"max_iterations": 5, "delay": "0.2s"},
        "steps": [vendor.step("look"), vendor.step("note", "look", body=note)],
        "output": {"now": "${{ steps.note.output.body }}", "before": "${{ iteration.previous }}"},
    }
    before = cluster.run([poll])
    assert before.status == "failed"
    record = again(cluster, before.id)
    assert record.status == "succeeded"
    assert record.output["now"] == 3
    assert record.output["before"]["before"]["before"] == {"now": 0, "before": None}
    assert vendor.keys(before.id) == {f"poll/{step}/{n}": 1 for step in ("look", "note") for n in range(4)} | {
        "poll/note/1": 2
    }


def test_a_loop_that_did_not_end_begins_again(cluster: Cluster, vendor: Vendor) -> None:
    poll = {"id": "poll", "type": "until", "until": "${{ iteration.index > 5 }}", "with": {"max_iterations": 2}}
    before = cluster.run([{**poll, "steps": [vendor.step("look")]}])
    assert before.error is not None
    assert before.error["code"] == "LOOP_DID_NOT_END"
    record = again(cluster, before.id)
    assert record.status == "failed"
    assert vendor.keys(before.id) == vendor.keys(record.id) == {"poll/look/0": 1, "poll/look/1": 1}


def test_a_branch_goes_on_where_it_was(cluster: Cluster, vendor: Vendor) -> None:
    inside = [vendor.step("a"), vendor.step("bad", "a", body=ONCE)]
    size = switch("size", [("${{ steps.first.output.body == 1 }}", inside), (True, [vendor.step("other")])], "first")
    before = cluster.run([vendor.step("first", body={"answer": 1}), size, vendor.step("last", "size")])
    record = again(cluster, before.id)
    assert record.status == "succeeded"
    assert vendor.keys(before.id) == {"first": 1, "size/0/a": 1, "size/0/bad": 2, "last": 1}


def test_joins_fire_once_behind_kept_steps(cluster: Cluster, vendor: Vendor) -> None:
    heads = [vendor.step(f"h{n}") for n in range(12)]
    steps = [
        *heads,
        vendor.step("bad", body=ONCE),
        vendor.step("end", " ".join([*(f"h{n}" for n in range(12)), "bad"])),
    ]
    before = cluster.run([*steps, vendor.step("quick", "h0 bad", join="any_success")])
    record = again(cluster, before.id)
    assert record.status == "succeeded"
    seen = vendor.keys(before.id)
    assert seen.pop("bad") == 2
    assert set(seen.values()) == {1}
    assert len(seen) == 14


def test_a_cancelled_foreach_goes_on(cluster: Cluster, vendor: Vendor) -> None:
    put = vendor.step("put", body={"sleep": 0.05})
    run = cluster.start([foreach("each", list(range(30)), put, max_parallel=2)])
    cluster.until(lambda: len(vendor.of(run)) > 8, "some items are done")
    cluster.cancel(run)
    before = cluster.finish(run)
    assert before.status == "cancelled"
    record = again(cluster, run)
    assert record.status == "succeeded"
    assert len(record.output) == 30
    assert set(vendor.keys(run).values()) == {1}
    assert len(vendor.keys(run)) == 30


def test_from_a_step_on(cluster: Cluster, vendor: Vendor) -> None:
    each = foreach("each", [1, 2], vendor.step("put"), needs="b")
    before = cluster.run([vendor.step("a"), vendor.step("b", "a"), each, vendor.step("c", "each"), vendor.step("d")])
    assert effects(cluster, before.id, "b") == {
        ("b", "succeeded", "new", 1),
        ("each/put", "succeeded", "new", 2),
        ("c", "succeeded", "new", 1),
    }
    record = again(cluster, before.id, "b")
    assert record.status == "succeeded"
    assert vendor.keys(record.id) == {"b": 1, "each/put/0": 1, "each/put/1": 1, "c": 1}
    assert set(vendor.keys(before.id).values()) == {1}


def test_from_the_start_and_with_another_input(cluster: Cluster, vendor: Vendor) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": "integer", "default": 5}}}
    step = vendor.step("echo", body={"answer": "${{ [input.n, input.m] }}"})
    version = cluster.save([step], name="echo-input", input={"schema": schema}, output="${{ steps.echo.output.body }}")
    before = cluster.finish(cluster.start(version, {"n": 1}))
    same, other = again(cluster, before.id, "start"), again(cluster, before.id, input={"n": 2, "m": 6})
    assert (same.output, other.output) == ([1, 5], [2, 6])
    assert vendor.keys(same.id) == vendor.keys(other.id) == {"echo": 1}
    with pytest.raises(InvalidInput) as refused:
        repeat(cluster, before.id, input={"n": "two"})
    assert refused.value.details[0].path == "/n"
    with pytest.raises(InvalidInput, match="from the start"):
        repeat(cluster, before.id, "echo", input={"n": 2})


def _version(cluster: Cluster, name: str, *steps: dict[str, Any], **words: Any) -> Version:
    return cluster.save(list(steps), name=name, **words)


def test_another_version_has_to_fit_what_is_kept(cluster: Cluster, vendor: Vendor) -> None:
    name, bad = "repaired", vendor.step("bad", "first", body={"status": 400})
    first = vendor.step("first", body={"answer": {"a": {"b": 1}}})
    before = cluster.finish(cluster.start(_version(cluster, name, first, bad)))
    refusals: list[tuple[list[dict[str, Any]], dict[str, Any], str, tuple[str, ...]]] = [
        ([vendor.step("other"), vendor.step("bad", "other")], {}, "STEP_GONE", ("first",)),
        ([transform("first"), vendor.step("bad", "first")], {}, "STEP_CHANGED", ("first", "http.request", "transform")),
        (
            [first, vendor.step("bad", "first", body="${{ steps.first.output.body.a.c }}")],
            {},
            "FIELD_MISSING",
            ("'bad'", "steps.first.output.body.a.c", "no 'c'"),
        ),
        ([first], {"output": "${{ steps.first.output.body.x }}"}, "FIELD_MISSING", ("The output", "no 'x'")),
        ([first, bad], {"input": {"schema": {"type": "object", "required": ["n"]}}}, "INVALID_INPUT", ("'n'",)),
    ]
    for steps, words, code, said in refusals:
        _version(cluster, name, *steps, **words)
        with pytest.raises(Conflict) as refused:
            repeat(cluster, before.id, version="latest")
        (problem,) = refused.value.details
        assert (refused.value.code, problem.code) == ("RERUN_DOES_NOT_FIT", code)
        assert all(each in problem.message for each in said), problem.message
    asked = "${{ has(steps.first.output.body.x) ? 1 : 2 }}"
    good = vendor.step("bad", "first", body={"answer": ["${{ steps.first.output.body.a.b }}", asked]})
    words = {"input": {"schema": {"type": "object", "properties": {"m": {"type": "integer", "default": 5}}}}}
    number = _version(cluster, name, first, good, vendor.step("more"), **words).number
    record = again(cluster, before.id, version=number)
    assert (record.status, record.steps["bad"].output["body"]) == ("succeeded", [1, 2])
    assert vendor.keys(before.id) == {"first": 1, "bad": 2, "more": 1}
    with cluster.active():
        assert read_run(cluster.tenant, record.id).run.input == {"m": 5}
    with pytest.raises(NotFound):
        repeat(cluster, before.id, version=99)


def test_what_cannot_be_repeated_is_refused(cluster: Cluster) -> None:
    each = foreach("each", [1], transform("one", given="${{ item }}"))
    steps = [each, {"id": "attempt", "type": "try", "steps": [transform("x")], "finally": {"steps": [transform("y")]}}]
    version = cluster.save(steps, name="refusals")
    run = cluster.finish(cluster.start(version)).id
    live = cluster.start([{"id": "rest", "type": "wait", "with": {"duration": "1h"}}])
    for name, begin, kind, code, said in (
        (live, None, Conflict, "RUN_IS_LIVE", "only one that is over"),
        (run, None, Conflict, "NOTHING_FAILED", "Nothing failed"),
        (run, "eahc", InvalidInput, "INVALID_INPUT", "Did you mean 'each'?"),
        (run, "each/one", InvalidInput, "INVALID_INPUT", "Give 'each'"),
        (run, "attempt/finally/y", InvalidInput, "INVALID_INPUT", "Give 'attempt'"),
        ("0199f0a3-7c1e-7b52-9d0e-3f6b1a2c4d5e", None, NotFound, "NOT_FOUND", "no run"),
        ("x", None, NotFound, "NOT_FOUND", "no run"),
    ):
        with pytest.raises(kind) as refused:
            repeat(cluster, name, begin)
        assert refused.value.code == code
        assert said in str(refused.value)
    with cluster.active():
        cancel_run(cluster.tenant, live)
        library.archive_workflow(cluster.tenant, version.workflow)
        with pytest.raises(Conflict, match="archived"):
            rerun(cluster.tenant, run, Asked("start"))
        library.delete_workflow(cluster.tenant, version.workflow)
        with pytest.raises(NotFound, match="was deleted"):
            rerun(cluster.tenant, run, Asked("start"))
        with pytest.raises(NotFound):
            rerun(str(cluster.database.tenant_b), run, Asked("start"))


def test_twice_under_one_key_is_one_run(cluster: Cluster) -> None:
    run = cluster.run([failing("bad")]).id
    with cluster.active():
        first, second = (rerun(cluster.tenant, run, Asked(), idempotency_key=f"again-{run}") for _ in range(2))
        assert (first.id, first.replayed, second.replayed) == (second.id, False, True)
        with pytest.raises(Conflict, match="another request"):
            rerun(cluster.tenant, run, Asked("start"), idempotency_key=f"again-{run}")


def test_many_runs_each_by_itself(cluster: Cluster, vendor: Vendor) -> None:
    steps = [vendor.step("first"), vendor.step("bad", "first", body=ONCE)]
    version = cluster.save(steps, name="many-runs")
    runs = [cluster.start(version) for _ in range(3)]
    cluster.finish_all(runs)
    live = cluster.start([{"id": "rest", "type": "wait", "with": {"duration": "1h"}}])
    with cluster.active():
        told = rerun_each(cluster.tenant, [*runs, live], Asked(), dry_run=True)
        assert told["effects"] == [
            {"action": "http.request", "connection": None, "was": "unfinished", "keys": "same", "times": 3}
            | {"at_least": False}
        ]
        assert (told["done"], told["refused"]) == (3, 1)
        assert {len(vendor.of(run)) for run in runs} == {2}
        done = rerun_each(cluster.tenant, [*runs, live], Asked())
        assert [each["error"] and each["error"]["code"] for each in done["runs"]] == [None] * 3 + ["RUN_IS_LIVE"]
        twice = rerun_each(cluster.tenant, runs, Asked())
        assert {each["error"]["code"] for each in twice["runs"]} == {"REPEATED_ALREADY"}
        cancel_run(cluster.tenant, live)
    cluster.finish_all([each["id"] for each in done["runs"] if each["error"] is None])
    assert [vendor.keys(run) for run in runs] == [{"first": 1, "bad": 2}] * 3
