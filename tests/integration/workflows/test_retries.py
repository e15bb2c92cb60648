"""Attempts: what is tried again, when, how often, and what a hung or refused call comes to."""

import time
from itertools import pairwise

import pytest

from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform

SOON = {"max": 3, "backoff": "constant", "initial": "50ms"}


def test_tries_a_passing_error_again_under_the_same_key(cluster: Cluster, vendor: Vendor) -> None:
    record = cluster.run([vendor.step("a", body={"fail": 2, "answer": 1}, retry=SOON)])
    assert record.status == "succeeded"
    assert record.steps["a"].attempts == 3
    assert vendor.keys(record.id) == {"a": 3}
    assert [data["attempts"] for data in record.events_of("step.retrying")] == [1, 2]


def test_gives_up_when_the_attempts_are_used_up(cluster: Cluster, vendor: Vendor) -> None:
    record = cluster.run([vendor.step("a", body={"status": 503}, retry={**SOON, "max": 2})])
    assert (record.status, record.cause) == ("failed", "provider")
    assert record.error is not None
    assert (record.error["code"], record.error["step"]) == ("HTTP_STATUS", "a")
    assert record.steps["a"].state == "failed"
    assert vendor.keys(record.id) == {"a": 3}


def test_does_not_try_again_what_is_refused(cluster: Cluster, vendor: Vendor) -> None:
    record = cluster.run([vendor.step("a", body={"status": 422}, retry=SOON)])
    assert record.status == "failed"
    assert vendor.keys(record.id) == {"a": 1}


def test_counts_attempts_of_a_step_behind_a_computed_one(cluster: Cluster, vendor: Vendor) -> None:
    """A pure step's record may wait for the next one's: the attempts are still that one's."""
    steps = [transform("before", jq="1"), vendor.step("a", "before", body={"status": 503}, retry={**SOON, "max": 2})]
    record = cluster.run(steps)
    assert record.status == "failed"
    assert record.steps["before"].attempts == 1
    assert record.steps["a"].attempts == 3
    assert vendor.keys(record.id) == {"a": 3}


def test_counts_each_steps_own_attempts_in_a_sequence(cluster: Cluster, vendor: Vendor) -> None:
    body = {"fail": 2, "answer": 1}
    record = cluster.run([vendor.step("a", body=body, retry=SOON), vendor.step("b", "a", body=body, retry=SOON)])
    assert record.status == "succeeded"
    assert [record.steps[name].attempts for name in "ab"] == [3, 3]


def test_waits_as_long_as_the_vendor_asks(cluster: Cluster, vendor: Vendor) -> None:
    body = {"fail": 1, "status": 429, "retry_after": 1, "answer": 1}
    record = cluster.run([vendor.step("a", body=body, retry=SOON)])
    assert record.status == "succeeded"
    first, second = vendor.of(record.id)
    assert 1.0 <= second.at - first.until < 2.5


def test_backs_off_under_a_growing_ceiling(cluster: Cluster, vendor: Vendor) -> None:
    retry = {"max": 4, "backoff": "exponential", "initial": "100ms", "limit": "200ms"}
    record = cluster.run([vendor.step("a", body={"status": 503}, retry=retry)])
    gaps = [after.at - before.until for before, after in pairwise(vendor.of(record.id))]
    assert len(gaps) == 4
    assert all(gap < 0.2 + 1.0 for gap in gaps)


def test_a_waiting_retry_holds_no_slot(cluster: Cluster, vendor: Vendor) -> None:
    """More steps wait than the worker has threads, and another run goes through meanwhile."""
    body = {"fail": 1, "status": 429, "retry_after": 4, "answer": 1}
    waiting = cluster.start([vendor.step(f"s{number}", body=body, retry=SOON) for number in range(40)])
    cluster.until(lambda: len(vendor.of(waiting)) == 40, "all have failed once")
    started = time.monotonic()
    assert cluster.run([vendor.step("a", body={"answer": 1})]).status == "succeeded"
    assert time.monotonic() - started < 2.5
    assert cluster.finish(waiting).status == "succeeded"
    assert vendor.keys(waiting) == {f"s{number}": 2 for number in range(40)}


def test_a_hung_call_times_out_and_gives_its_slot_back(cluster: Cluster, vendor: Vendor) -> None:
    hung = [vendor.step(f"s{number}", body={"hang": True}, timeout="400ms", retry={"max": 0}) for number in range(20)]
    runs = [cluster.start([step]) for step in hung]
    records = [cluster.finish(run) for run in runs]
    assert {record.status for record in records} == {"failed"}
    assert all(record.steps[f"s{number}"].state == "timed_out" for number, record in enumerate(records))
    assert {record.error["code"] for record in records if record.error} == {"STEP_TIMED_OUT"}
    assert cluster.run([vendor.step("a", body={"answer": 1})], seconds=5).status == "succeeded"


def test_a_run_ends_at_its_own_timeout(cluster: Cluster, vendor: Vendor) -> None:
    steps = [vendor.step("a", body={"sleep": 2.0}), vendor.step("b", "a", body={})]
    started = time.monotonic()
    record = cluster.run(steps, timeout="500ms")
    assert time.monotonic() - started < 9
    assert (record.status, record.cause) == ("timed_out", "user")
    assert record.error is not None
    assert record.error["code"] == "RUN_TIMED_OUT"
    assert vendor.keys(record.id) == {"a": 1}
    assert record.live == 0


def test_a_cancelled_run_starts_nothing_new(cluster: Cluster, vendor: Vendor) -> None:
    run = cluster.start([vendor.step("a", body={"sleep": 0.7}), vendor.step("b", "a", body={})])
    cluster.until(lambda: len(vendor.of(run)) == 1, "the first step runs")
    cluster.cancel(run)
    record = cluster.finish(run)
    assert (record.status, record.live) == ("cancelled", 0)
    assert vendor.keys(run) == {"a": 1}
    cluster.cancel(run)
    assert cluster.read(run) == record


def test_a_cancelled_run_does_not_wait_for_its_retries(cluster: Cluster, vendor: Vendor) -> None:
    body = {"status": 429, "retry_after": 60}
    run = cluster.start([vendor.step("a", body=body)])
    cluster.until(lambda: bool(cluster.read(run).events_of("step.retrying")), "the step waits")
    cluster.cancel(run)
    assert cluster.finish(run, 5).status == "cancelled"


@pytest.mark.parametrize("parallel", [1, 3])
def test_retried_items_keep_to_max_parallel(cluster: Cluster, vendor: Vendor, parallel: int) -> None:
    body = {"fail": 1, "answer": "${{ item }}", "sleep": 0.02}
    put = vendor.step("put", body=body, retry=SOON)
    each = foreach("each", list(range(60)), put, max_parallel=parallel, output="${{ steps.put.output.body }}")
    record = cluster.run([each], seconds=40)
    assert record.output == list(range(60))
    assert vendor.keys(record.id) == {f"each/put/{number}": 2 for number in range(60)}
    assert vendor.peaks[record.id] <= parallel
