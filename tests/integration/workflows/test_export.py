"""Runs of the real cluster, written as test files that pass: failures, loops, secrets, large values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexusflow.errors import Conflict, NotFound
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.reports.run_export import ExportedTest, export_test
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import failing, foreach, transform
from tests.unit.cli.conftest import Answer, nexusflow  # noqa: F401 - a fixture

SOON = {"max": 3, "backoff": "constant", "initial": "20ms"}
SECRET = "open-sesame-77"
Nexusflow = Callable[..., Answer]


@pytest.fixture
def passes(nexusflow: Nexusflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ExportedTest], None]:  # noqa: F811
    """Rehearse what was written as a user does."""
    monkeypatch.chdir(tmp_path)

    def passes(exported: ExportedTest) -> None:
        Path("run.test.yaml").write_text(exported.source)
        answer = nexusflow("test", "run.test.yaml")
        assert answer.code == 0, answer.out + answer.err + exported.source

    return passes


def exported(cluster: Cluster, run: str) -> tuple[ExportedTest, dict[str, Any]]:
    with cluster.active():
        found = export_test(cluster.tenant, run)
    return found, load(found.source).data["cases"][0]


def test_a_run_that_failed_at_its_vendor(
    cluster: Cluster, vendor: Vendor, passes: Callable[[ExportedTest], None]
) -> None:
    steps = [
        transform("one", jq="1"),
        vendor.step("two", "one", body={"status": 503}, retry={**SOON, "max": 2}),
        vendor.step("three", "two", body={}),
    ]
    record = cluster.run(steps)
    found, case = exported(cluster, record.id)
    passes(found)
    assert case["expect"]["error"] == {"code": "HTTP_STATUS", "cause": "provider", "step": "two"}
    assert case["expect"]["attempts"] == {"two": 3}
    assert case["expect"]["order"] == ["one", "two"]
    assert len(case["mocks"]["two"]) == 3
    assert set(case["mocks"]) == {"two"}
    assert found.notes == ()


def test_items_attempts_and_compensations(
    cluster: Cluster, vendor: Vendor, passes: Callable[[ExportedTest], None]
) -> None:
    put = vendor.step("put", body={"fail": 1, "answer": "${{ item * 10 }}"}, retry=SOON)
    each = foreach("each", [1, 2, 3], put, max_parallel=2, output="${{ steps.put.output.body }}")
    undo = {"type": put["type"], "with": put["with"] | {"body": {"answer": "undone"}}}
    pay = vendor.step("pay", body={"answer": 1}, compensate=undo)
    order = {
        "id": "order",
        "type": "try",
        "steps": [pay, failing("bad", "pay")],
        "catch": [{"steps": [transform("sorry")]}],
    }
    record = cluster.run([each, {**order, "needs": ["each"]}], output={"each": "${{ steps.each.output }}"})
    assert record.output == {"each": [10, 20, 30]}
    found, case = exported(cluster, record.id)
    passes(found)
    assert [len(case["mocks"][f"each/put[{number}]"]) for number in range(3)] == [2, 2, 2]
    assert case["mocks"]["order/try/pay/compensate"]["output"]["body"] == "undone"
    assert case["expect"]["steps"]["order/try/pay/compensate"] == "succeeded"
    assert case["expect"]["output"] == {"each": [10, 20, 30]}


def test_secrets_are_masked_and_it_passes_all_the_same(
    cluster: Cluster, vendor: Vendor, passes: Callable[[ExportedTest], None]
) -> None:
    schema = {"type": "object", "properties": {"token": {"type": "string", "minLength": 10, "x-sensitive": True}}}
    steps = [
        vendor.step("echo", body={"answer": {"you sent": "${{ input.token }}"}}),
        transform("length", "echo", "length", given="${{ input.token }}"),
        transform("text", "length", given="${{ steps.echo.output.body }} ${{ steps.length.output }}"),
    ]
    record = cluster.run(steps, {"token": SECRET}, input={"schema": schema})
    assert SECRET in str(record.output)
    found, case = exported(cluster, record.id)
    passes(found)
    assert SECRET not in found.source
    assert case["input"] == {"token": "***"}
    assert case["mocks"]["echo"]["output"]["body"] == {"you sent": "***"}
    assert case["mocks"]["length"] == {"output": len(SECRET)}
    assert "***" in case["expect"]["output"]


def test_large_values_are_loaded_up_to_a_bound(
    cluster: Cluster, vendor: Vendor, passes: Callable[[ExportedTest], None]
) -> None:
    def of(size: int) -> tuple[ExportedTest, dict[str, Any]]:
        steps = [
            transform("make", jq=f'"x" * {size}'),
            vendor.step("get", "make", body={"answer": {"text": "${{ steps.make.output }}"}}),
            transform("size", "get", "length", given="${{ steps.get.output.body.text }}"),
        ]
        return exported(cluster, cluster.run(steps).id)

    found, case = of(400_000)
    passes(found)
    assert len(case["mocks"]["get"]["output"]["body"]["text"]) == 400_000
    assert found.notes == ()
    found, case = of(1_200_000)
    passes(found)
    assert len(case["mocks"]["get"]["output"]["body"]["text"]) == 500
    assert case["mocks"]["size"] == {"output": 1_200_000}
    assert case["expect"]["output"] == 1_200_000
    assert "Too large to be written, so shortened: the output of get." in found.notes


def test_a_run_that_is_not_over_and_one_that_was_cancelled(
    cluster: Cluster, passes: Callable[[ExportedTest], None]
) -> None:
    steps = [
        transform("a"),
        {"id": "rest", "type": "wait", "needs": ["a"], "with": {"duration": "5m"}},
        transform("b", "rest"),
    ]
    run = cluster.start(steps)
    cluster.until(lambda: "rest" in cluster.read(run).states, "it waits")
    with pytest.raises(Conflict, match="is not over") as refused:
        exported(cluster, run)
    assert refused.value.code == "CANNOT_EXPORT"
    cluster.cancel(run)
    cluster.finish(run)
    found, case = exported(cluster, run)
    passes(found)
    assert case["expect"]["status"] == "running"
    assert case["mocks"] == {"rest": {"never": True}}


def test_another_tenants_run_is_not_there(cluster: Cluster) -> None:
    run = cluster.run([transform("a")]).id
    with cluster.active(), pytest.raises(NotFound):
        export_test(str(cluster.database.tenant_b), run)
