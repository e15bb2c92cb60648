"""Runs with mocks: what is mocked is not done, and what follows sees no difference."""

from typing import Any

from nexusflow.workflows.reports.report import read_run
from nexusflow.workflows.starts import service
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform


def start(cluster: Cluster, version: Any, given: dict[str, Any] | None = None, *, mock: bool = True) -> str:
    with cluster.active():
        return service.start_run(cluster.tenant, version, given or {}, mock=mock)


def test_what_is_mocked_is_not_done(cluster: Cluster, vendor: Vendor) -> None:
    pay = vendor.step("pay", body={"answer": 1}, mock={"output": {"body": "${{ item * 10 }}"}})
    each = foreach("each", [1, 2], pay, output="${{ steps.pay.output.body }}")
    rest = {"id": "rest", "type": "wait", "needs": ["each"], "with": {"duration": "1h"}, "mock": {"output": "rested"}}
    whole = foreach("whole", [1], vendor.step("never"), needs="rest", mock={"output": [7]})
    call = {
        "id": "call",
        "type": "workflow",
        "needs": ["whole"],
        "with": {"workflow": "no-such"},
        "mock": {"output": 8},
    }
    skipped = transform("skipped", "call", when="${{ 1 > 2 }}", mock={"output": 9})
    done = vendor.step("done", "call", body={"answer": 5})
    version = cluster.save([each, rest, whole, call, skipped, done])
    record = cluster.finish(start(cluster, version))
    assert (record.status, record.error) == ("succeeded", None)
    outputs = {step: record.steps[step].output for step in ("each", "rest", "whole", "call", "skipped")}
    assert outputs == {"each": [10, 20], "rest": "rested", "whole": [7], "call": 8, "skipped": None}
    assert set(vendor.keys(record.id)) == {"done"}
    with cluster.active():
        report = read_run(cluster.tenant, record.id)
    assert report.run.mock
    assert {step.path for step in report.steps if step.note == "mocked"} == {"each/pay", "rest", "whole", "call"}
    real = start(cluster, cluster.save([each]), mock=False)
    assert cluster.finish(real).output == [1, 1]


def test_a_mocked_error_is_one_like_others(cluster: Cluster) -> None:
    error = {"code": "SHOP_BUSY", "message": "come back later", "cause": "provider"}
    again = {"max": 1, "initial": "5ms", "errors": ["SHOP_BUSY"]}
    book = transform("book", mock={"error": error}, retry=again)
    guarded = {"id": "guarded", "type": "try", "steps": [book]}
    catch = {"errors": ["provider"], "steps": [transform("told", given="${{ error.message }}")]}
    record = cluster.finish(start(cluster, cluster.save([{**guarded, "catch": [catch]}])))
    assert record.output == "come back later"
    assert record.steps["guarded/try/book"].attempts == 2


def test_a_child_has_its_parents_mocks(cluster: Cluster) -> None:
    cluster.save({"nexusflow": "1", "name": "mocked", "steps": [transform("a", jq="1", mock={"output": 2})]})
    version = cluster.save([{"id": "call", "type": "workflow", "with": {"workflow": "mocked"}}])
    assert [cluster.finish(start(cluster, version, mock=mock)).output for mock in (True, False)] == [2, 1]
