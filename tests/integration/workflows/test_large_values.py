"""Values too large for their row go through a run by reference, whatever dies or is away; limits are typed errors."""

import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nexusflow.errors import InvalidInput, Permanent
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.engine.act import recordable, storable
from nexusflow.workflows.reports import report
from nexusflow.workflows.rows.files import keep_file
from tests.integration.cluster import Cluster
from tests.integration.records import RunRecord
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform

MakeCluster = Callable[..., Cluster]
INLINE = 65_536
PAD = "ä" * 50_000
COUNT = 11
"""Items of 100 kB each: a list of more than 1 MiB."""


def _folder(cluster: Cluster) -> Path:
    return cluster.folder / "kept"


def _kept_outside(make_cluster: MakeCluster, **changes: Any) -> Cluster:
    """A cluster whose storage is a folder."""
    cluster = make_cluster(inline_bytes=INLINE, **changes)
    cluster.changes["storage_url"] = f"file://{_folder(cluster)}"
    _folder(cluster).mkdir()
    return cluster


def _there_and_back(vendor: Vendor) -> list[dict[str, Any]]:
    """A large list through a foreach and back: from the input, over items that are large themselves, to the output."""
    item = {"n": "${{ item.n }}", "pad": "${{ item.pad }}"}
    return [
        transform("big", given="${{ input.list }}", jq="map({n: (.n + 1), pad: .pad})"),
        foreach(
            "each",
            "${{ steps.big.output }}",
            vendor.step("put", body={"answer": "${{ item.n }}"}),
            transform("same", "put", given=item),
            needs="big",
            max_parallel=2,
        ),
        transform("sum", "each", given="${{ steps.each.output }}", jq="map(.n) | add"),
    ]


WORDS: dict[str, Any] = {
    "input": {"schema": {"type": "object", "properties": {"list": {"type": "array"}}}},
    "output": {"sum": "${{ steps.sum.output }}", "back": "${{ steps.each.output }}"},
}
GIVEN = {"list": [{"n": n, "pad": PAD} for n in range(COUNT)]}


def _assert_back(cluster: Cluster, vendor: Vendor, run: str) -> RunRecord:
    record = cluster.finish(run, 40)
    assert record.status == "succeeded", record.error
    with cluster.active():
        whole = report.read_run(cluster.tenant, run, whole=True).run
        brief = report.read_run(cluster.tenant, run).run
    assert whole.output == {"sum": sum(range(COUNT)) + COUNT, "back": [{"n": n + 1, "pad": PAD} for n in range(COUNT)]}
    assert whole.input == GIVEN
    assert brief.output["$large"]["bytes"] > 1_048_576
    assert set(brief.input) == {"$large"}
    assert set(vendor.keys(run)) == {f"each/put/{n}" for n in range(COUNT)}
    return record


def test_a_large_list_goes_through_a_foreach_while_workers_die(make_cluster: MakeCluster, vendor: Vendor) -> None:
    """Killed between put and record: of a step, of an item, of the run's output."""
    cluster = _kept_outside(make_cluster)
    cluster.beat()
    worker = cluster.worker(app="tests.integration.workflows.failpoints.killed")
    cluster.wait_ready()
    version = cluster.save({"nexusflow": "1", "name": "case", "steps": _there_and_back(vendor), **WORDS})
    point = cluster.folder / "after-put"
    run = cluster.start(version, GIVEN)
    for moment in (0, 4):
        cluster.until(lambda count=moment, run=run: len(vendor.of(run)) >= count, "the run is under way")  # type: ignore[misc]
        point.touch()
        cluster.until(lambda: not worker.runs, "the worker dies")
        worker.kill()
        worker.start()
    _assert_back(cluster, vendor, run)
    with psycopg.connect(cluster.database.owner_url) as owner:
        rows = owner.execute(
            "SELECT step, item, output IS NULL, items IS NULL, output_at IS NOT NULL, items_at IS NOT NULL, items_count"
            " FROM steps WHERE run_id = %s AND (step IN ('big', 'each') AND item = '')",
            (run,),
        ).fetchall()
        objects = owner.execute("SELECT count(*) FROM object_chunks").fetchone()
    assert sorted(rows) == [
        ("big", "", True, True, True, False, None),
        ("each", "", True, True, True, True, COUNT),
    ]
    assert objects == (0,)


def test_a_storage_that_is_away_is_waited_for(make_cluster: MakeCluster, vendor: Vendor) -> None:
    """Neither an attempt nor a worker's loss is counted, and no effect is doubled while its record waits."""
    cluster = _kept_outside(make_cluster)
    cluster.beat()
    cluster.worker()
    cluster.wait_ready()
    version = cluster.save(
        [
            vendor.step("first", body={"sleep": 1.0, "answer": [PAD]}, retry={"max": 0}),
            transform("second", "first", given="${{ steps.first.output.body }}", jq="length"),
        ]
    )
    run = cluster.start(version)
    cluster.until(lambda: bool(vendor.of(run)), "the vendor was called")
    away = _folder(cluster).rename(cluster.folder / "away")
    cluster.until(lambda: cluster.processes["worker"].says("database.away"), "the record is tried")
    with psycopg.connect(cluster.database.owner_url) as owner:  # as if it had been away for the step's whole timeout
        owner.execute("UPDATE segments SET deadline = now() + interval '1.2 seconds' WHERE state = 'leased'")
    time.sleep(2.5)
    away.rename(_folder(cluster))
    record = cluster.finish(run)
    assert (record.status, record.output) == ("succeeded", 1)
    assert set(vendor.keys(run).values()) == {1}
    assert {step.attempts for step in record.steps.values()} == {1}


def test_a_value_that_is_away_is_waited_for_and_one_that_is_gone_fails_its_step(
    make_cluster: MakeCluster, vendor: Vendor
) -> None:
    cluster = _kept_outside(make_cluster)
    cluster.beat()
    worker = cluster.worker(concurrency=1)
    cluster.wait_ready()
    run = cluster.start(
        [
            vendor.step("first", body={"answer": ["x" * INLINE]}),
            vendor.step("pause", "first", body={"sleep": 0.5}),
            transform("second", "pause", given="${{ steps.first.output }}"),
        ]
    )
    cluster.until(lambda: len(vendor.of(run)) == 2, "the first step is recorded")
    worker.kill()  # with what it had read
    away = _folder(cluster).rename(cluster.folder / "away")
    worker.start()
    cluster.until(lambda: worker.says("storage.away"), "what it needs cannot be read")
    assert cluster.read(run).states == dict.fromkeys(("first", "pause"), "succeeded")
    shutil.rmtree(away)
    _folder(cluster).mkdir()
    record = cluster.finish(run)
    assert record.steps["second"].attempts == 1
    assert (record.status, record.cause) == ("failed", "platform")
    assert record.error is not None
    assert (record.error["code"], record.error["step"]) == ("VALUE_MISSING", "second")


def test_one_byte_over_each_limit_is_a_typed_error() -> None:
    use_settings(Settings(max_value_bytes=1024, inline_bytes=1024, max_error_bytes=4096))
    try:
        assert storable("x" * 1022)
        with pytest.raises(Permanent, match="VALUE_TOO_LARGE") as raised:
            storable("x" * 1023)
        assert "NEXUSFLOW_MAX_VALUE_BYTES" in raised.value.hint
        deep: Any = 0
        for _ in range(255):
            deep = [deep]
        with pytest.raises(Permanent, match="VALUE_NOT_STORABLE"):
            storable(deep)
        small = Permanent("X", "m", details=["d" * 500])
        assert recordable(small) == small.as_dict()
        short = recordable(Permanent("X", "m" * 9000 + "\x00", "h", details=["d" * 9000]))
        assert short["code"] == "X"
        assert short["shortened"]
        assert len(short["message"]) < 600
        assert "details" not in short
    finally:
        use_settings(None)


def test_limits_break_at_their_step(cluster: Cluster) -> None:
    """The limits of a run, at the step that is over them; of its input, before it starts."""
    foreach_step = foreach("b", "${{ steps.a.output }}", transform("c"), needs="a")
    large = cluster.run([transform("a", jq="[range(100001)]"), foreach_step])
    assert (large.error or {})["code"] == "TOO_MANY_ITEMS"
    assert "NEXUSFLOW_MAX_ITEMS" in (large.error or {})["hint"]
    assert (large.error or {})["step"] == "b"
    with pytest.raises(InvalidInput, match="bytes"):
        cluster.start([transform("a")], {"x": "y" * 16_777_216})
    use_settings(cluster.settings.model_copy(update={"max_file_bytes": 1024}))
    try:
        assert keep_file(cluster.tenant, "a", io.BytesIO(b"x" * 1024)).size == 1024
        with pytest.raises(InvalidInput, match="NEXUSFLOW_MAX_FILE_BYTES"):
            keep_file(cluster.tenant, "a", io.BytesIO(b"x" * 1025))
    finally:
        use_settings(None)
