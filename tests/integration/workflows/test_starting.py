"""Starting runs: all or none, once per key, with the version that is to run, whoever else is at it."""

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from string import ascii_lowercase, digits
from typing import Any

import psycopg
import pytest

from nexusflow.db.session import tenant_session
from nexusflow.errors import Conflict, InvalidInput, NotFound
from nexusflow.workflows.reports import report
from nexusflow.workflows.saved import library
from nexusflow.workflows.saved.library import WorkflowSummary
from nexusflow.workflows.starts import control
from nexusflow.workflows.starts.idempotency import answer_once, fingerprint
from nexusflow.workflows.starts.starting import Started, start_runs
from tests.integration.workflows.definitions import source
from tests.servers.databases import Database


@pytest.fixture
def workflow(tenant: str, request: pytest.FixtureRequest) -> WorkflowSummary:
    name = "".join(letter if letter in ascii_lowercase + digits else "-" for letter in request.node.name.lower())[
        :90
    ].rstrip("-")
    return library.create_workflow(tenant, source(name))


def rows(database: Database, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.owner_url) as connection:
        return connection.execute(query, values).fetchall()


def count(database: Database, workflow: WorkflowSummary) -> int:
    return int(rows(database, "SELECT count(*) FROM runs WHERE workflow_id = %s", workflow.id)[0][0])


def version_of(tenant: str, run: str) -> int:
    return report.read_run(tenant, run).run.version


def stricter(workflow: WorkflowSummary) -> bytes:
    """Another version, that wants a token."""
    return source(workflow.name).replace(b"    type: object\n", b"    type: object\n    required: [token]\n")


def test_a_started_run_is_there_with_its_first_segment(
    database: Database, tenant: str, workflow: WorkflowSummary
) -> None:
    started = start_runs(tenant, workflow.id, [{"token": "sesame"}], trigger="page", idempotency_key="order-1")
    (run,) = started.run_ids
    assert not started.replayed
    (row,) = rows(database, "SELECT input, trigger, request_key, deadline, status FROM runs WHERE id = %s", run)
    assert row == ({"n": 7, "token": "sesame"}, "page", "order-1", None, "queued")
    assert rows(database, "SELECT segment, queue, state, patience > 0 FROM segments WHERE run_id = %s", run) == [
        (0, "workflow", "ready", True)
    ]
    assert [event.type for event in report.read_events(tenant, run)] == ["run.accepted"]


def test_a_start_wakes_the_dispatcher(database: Database, tenant: str, workflow: WorkflowSummary) -> None:
    with psycopg.connect(database.control_url, autocommit=True) as listener:
        listener.execute("LISTEN nexusflow_work")
        start_runs(tenant, workflow.id, [{}])
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
        with tenant_session(tenant) as connection:
            start_runs(tenant, workflow.id, [{}], connection=connection)
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1


def test_the_published_version_runs_else_the_newest(tenant: str, workflow: WorkflowSummary) -> None:
    def started(version: int | None = None) -> int:
        return version_of(tenant, start_runs(tenant, workflow.id, [{}], version=version).run_ids[0])

    assert started() == 1
    library.update_workflow(tenant, workflow.id, source(workflow.name, ".n"))
    assert started() == 2, "a draft is tried out"
    library.publish_workflow(tenant, workflow.id, 1)
    assert started() == 1
    library.update_workflow(tenant, workflow.id, source(workflow.name, ".n + 1"))
    assert [started(), started(2), started(3)] == [1, 2, 3]
    library.publish_workflow(tenant, workflow.id)
    assert started() == 3
    for number in (4, 0, -1, 10**30):
        with pytest.raises(NotFound, match="no version"):
            started(number)


def test_a_new_versions_input_is_checked_against_its_own_schema(tenant: str, workflow: WorkflowSummary) -> None:
    start_runs(tenant, workflow.id, [{}])
    library.update_workflow(tenant, workflow.id, stricter(workflow))
    with pytest.raises(InvalidInput, match="does not fit"):
        start_runs(tenant, workflow.id, [{}])


def test_what_is_archived_deleted_or_anothers_is_not_started(
    database: Database, tenant: str, workflow: WorkflowSummary
) -> None:
    start_runs(tenant, workflow.id, [{}])
    with pytest.raises(NotFound):
        start_runs(str(database.tenant_b), workflow.id, [{}])
    library.archive_workflow(tenant, workflow.id)
    for version in (None, 1):
        with pytest.raises(Conflict) as refused:
            start_runs(tenant, workflow.id, [{}], version=version)
        assert refused.value.code == "ARCHIVED"
    library.publish_workflow(tenant, workflow.id)
    start_runs(tenant, workflow.id, [{}])
    library.delete_workflow(tenant, workflow.id)
    for unknown in (workflow.id, "x", "", "0199aaaa-0000-7000-8000-0000000000ff"):
        with pytest.raises(NotFound):
            start_runs(tenant, unknown, [{}])
    assert count(database, workflow) == 2


def test_a_batch_is_started_as_a_whole_or_not_at_all(
    database: Database, tenant: str, workflow: WorkflowSummary
) -> None:
    started = start_runs(tenant, workflow.id, [{"n": n} for n in range(1_000)], batch=True)
    assert len(set(started.run_ids)) == 1_000
    found = rows(database, "SELECT id::text, input -> 'n' FROM runs WHERE workflow_id = %s ORDER BY id", workflow.id)
    assert [run for run, _ in found] == started.run_ids
    assert [n for _, n in found] == list(range(1_000))
    live = rows(database, "SELECT count(*) FROM segments JOIN runs ON id = run_id WHERE workflow_id = %s", workflow.id)
    assert live == [(1_000,)]
    with pytest.raises(InvalidInput) as refused:
        start_runs(tenant, workflow.id, [{"n": 1}, {"n": "one"}, {"token": "x" * 13}, 5], batch=True)
    assert [each.path for each in refused.value.details] == ["/inputs/1/n", "/inputs/2/token", "/inputs/3"]
    assert count(database, workflow) == 1_000
    refused_sizes: list[list[dict[str, Any]]] = [[], [{}] * 1_001]
    for inputs in refused_sizes:
        with pytest.raises(InvalidInput, match="1 to 1,000"):
            start_runs(tenant, workflow.id, inputs, batch=True)


def test_a_batch_of_nonsense_ends_in_few_problems(tenant: str, workflow: WorkflowSummary) -> None:
    with pytest.raises(InvalidInput) as refused:
        start_runs(tenant, workflow.id, [{"n": "x"}] * 1_000, batch=True)
    assert len(refused.value.details) == 50


@pytest.mark.parametrize(
    "value",
    [
        "\x00",
        "\ud800",
        2**64,
        {1: 2},
        b"x",
        [[[[[[]]]]]] * 2 + [json.loads("[" * 300 + "]" * 300)],
        ["\x00", {"\x00": 1}],
    ],
    ids=lambda value: repr(value)[:10],
)
@pytest.mark.parametrize("key", [None, "odd"])
def test_what_no_database_keeps_is_refused(tenant: str, workflow: WorkflowSummary, value: Any, key: str | None) -> None:
    with pytest.raises(InvalidInput):
        start_runs(tenant, workflow.id, [{"x": value}], idempotency_key=key)


def test_a_schema_keeps_its_large_numbers(tenant: str, workflow: WorkflowSummary) -> None:
    steps = [{"id": "one", "type": "transform", "with": {"jq": "."}}]
    schema = {"properties": {"x": {"default": 1e300}}}
    words = {"nexusflow": "1", "name": workflow.name, "input": {"schema": schema}, "steps": steps}
    library.update_workflow(tenant, workflow.id, json.dumps(words).encode())
    assert start_runs(tenant, workflow.id, [{}]).run_ids


@pytest.mark.parametrize("given", [{"token": "x" * 13}, {"token": 4711}, {"token": ["deep-secret"]}])
def test_no_problem_tells_a_sensitive_value(tenant: str, workflow: WorkflowSummary, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        start_runs(tenant, workflow.id, [given])
    told = str(refused.value) + str([each.as_dict() for each in refused.value.details])
    assert "sensitive value" in told
    assert not any(secret in told for secret in ("xxx", "4711", "deep-secret"))


def test_a_large_input_is_kept_by_reference(database: Database, tenant: str, workflow: WorkflowSummary) -> None:
    (run,) = start_runs(tenant, workflow.id, [{"text": "x" * 300_000}]).run_ids
    ((inline, key),) = rows(database, "SELECT input, input_at FROM runs WHERE id = %s", run)
    assert inline is None
    assert run in key
    with pytest.raises(InvalidInput, match="more than"):
        start_runs(tenant, workflow.id, [{"text": "x" * 17_000_000}])


def test_a_key_starts_its_runs_once(database: Database, tenant: str, workflow: WorkflowSummary) -> None:
    def start(key: str, n: Any, **more: Any) -> Started:
        return start_runs(tenant, workflow.id, [{"n": n, "token": "a"}], idempotency_key=key, **more)

    first = start("once", 1)
    again = start_runs(tenant, workflow.id, [{"token": "a", "n": 1}], idempotency_key="once")
    assert again == Started(first.run_ids, replayed=True)
    other = library.create_workflow(tenant, source("other-than-that"))
    changes: list[Callable[[], Started]] = [
        lambda: start("once", 2),
        lambda: start("once", 1, version=1),
        lambda: start("once", 1, batch=True),
        lambda: start_runs(tenant, other.id, [{"n": 1, "token": "a"}], idempotency_key="once"),
        lambda: start("once", "x"),
    ]
    for change in changes:
        with pytest.raises(Conflict) as refused:
            change()
        assert refused.value.code == "IDEMPOTENCY_KEY_REUSED"
    assert count(database, workflow) == 1
    theirs = library.create_workflow(str(database.tenant_b), source("theirs"))
    assert not start_runs(str(database.tenant_b), theirs.id, [{}], idempotency_key="once").replayed


def test_a_key_answers_the_same_whatever_became_of_the_workflow(tenant: str, workflow: WorkflowSummary) -> None:
    first = start_runs(tenant, workflow.id, [{}], idempotency_key="kept")
    for change in (
        lambda: library.update_workflow(tenant, workflow.id, stricter(workflow)),
        lambda: library.archive_workflow(tenant, workflow.id),
        lambda: library.delete_workflow(tenant, workflow.id),
    ):
        change()
        assert start_runs(tenant, workflow.id, [{}], idempotency_key="kept") == Started(first.run_ids, replayed=True)
        with pytest.raises((Conflict, NotFound, InvalidInput)):
            start_runs(tenant, workflow.id, [{}], idempotency_key="new")


def test_a_refused_request_leaves_its_key_free(tenant: str, workflow: WorkflowSummary) -> None:
    with pytest.raises(InvalidInput):
        start_runs(tenant, workflow.id, [{"n": "x"}], idempotency_key="free")
    assert not start_runs(tenant, workflow.id, [{"n": 1}], idempotency_key="free").replayed


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b", "a\nb"])
def test_a_key_that_cannot_be_one_is_refused(tenant: str, workflow: WorkflowSummary, key: str) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        start_runs(tenant, workflow.id, [{}], idempotency_key=key)


def test_twins_at_the_same_time_start_one_run(database: Database, tenant: str, workflow: WorkflowSummary) -> None:
    with ThreadPoolExecutor(12) as pool:
        started = list(
            pool.map(lambda n: start_runs(tenant, workflow.id, [{}], idempotency_key=f"twin-{n % 3}"), range(60))
        )
    assert len({each.run_ids[0] for each in started}) == 3
    assert sum(not each.replayed for each in started) == 3
    assert count(database, workflow) == 3


def test_what_starts_while_versions_are_published_fits_its_version(tenant: str, workflow: WorkflowSummary) -> None:
    """Every second version wants another input: no run may have the input of one and the version of the other."""
    texts = [source(workflow.name).replace(b"default: 7", f"const: {n}, default: {n}".encode()) for n in (1, 2)]

    def publish(n: int) -> list[str]:
        library.update_workflow(tenant, workflow.id, texts[n % 2], publish=True)
        return []

    with ThreadPoolExecutor(6) as pool:
        changes = pool.map(publish, range(12))
        runs = [
            run for each in pool.map(lambda _: start_runs(tenant, workflow.id, [{}]), range(60)) for run in each.run_ids
        ]
        list(changes)
    for run in runs:
        found = report.read_run(tenant, run).run
        wanted = library.read_workflow(tenant, workflow.id, found.version).input_schema["properties"]["n"]
        assert found.input["n"] == wanted.get("const", 7)


def test_a_start_survives_connections_that_broke_while_idle(
    database: Database, tenant: str, workflow: WorkflowSummary
) -> None:
    start_runs(tenant, workflow.id, [{}])
    rows(
        database,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = %s AND usename = 'nexusflow_app'",
        database.name,
    )
    assert start_runs(tenant, workflow.id, [{}], idempotency_key="broken").run_ids
    assert count(database, workflow) == 2


def test_a_start_that_was_done_before_its_connection_broke_is_not_done_again(
    database: Database, tenant: str, workflow: WorkflowSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexusflow.workflows.starts import starting

    start_runs(tenant, workflow.id, [{}])
    done, once_only = starting._Start._in_one_trip, list[Any]()

    def broken_after(start: Any, values: dict[str, Any]) -> bool:
        is_there = done(start, values)
        if not once_only:
            once_only.append(start)
            raise psycopg.OperationalError("the connection is lost")
        return is_there

    monkeypatch.setattr(starting._Start, "_in_one_trip", broken_after)
    assert start_runs(tenant, workflow.id, [{"n": 5}]).run_ids
    assert count(database, workflow) == 2
    once_only.clear()
    started = start_runs(tenant, workflow.id, [{"n": 6}], idempotency_key="lost-once")
    assert not started.replayed
    assert count(database, workflow) == 3
    assert report.read_run(tenant, started.run_ids[0]).run.input == {"n": 6}


def test_a_start_whose_answer_was_lost_is_answered_though_the_workflow_was_archived_since(
    database: Database, tenant: str, workflow: WorkflowSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexusflow.workflows.starts import starting

    done = starting._Start._in_one_trip

    def broken(start: Any, values: dict[str, Any]) -> bool:
        if not done(start, values):
            return False
        library.archive_workflow(tenant, workflow.id)
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(starting._Start, "_in_one_trip", broken)
    assert rows(database, "SELECT id::text FROM runs WHERE id = %s", *start_runs(tenant, workflow.id, [{}]).run_ids)
    assert count(database, workflow) == 1


def test_runs_started_in_a_callers_transaction_share_its_fate(
    database: Database, tenant: str, workflow: WorkflowSummary
) -> None:
    with contextlib.suppress(KeyError), tenant_session(tenant) as connection:
        start_runs(tenant, workflow.id, [{}], trigger="schedule", connection=connection, idempotency_key="undone")
        raise KeyError
    assert count(database, workflow) == 0
    with tenant_session(tenant) as connection:
        start_runs(tenant, workflow.id, [{}], trigger="schedule", connection=connection, idempotency_key="undone")
    assert count(database, workflow) == 1


def test_any_work_is_done_once_per_key(tenant: str) -> None:
    mark = fingerprint("create", "body")

    def work(connection: Any) -> dict[str, Any]:
        return {"id": library.create_workflow(tenant, source("made-once"), connection=connection).id}

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: answer_once(tenant, "make", mark, work), range(6)))
    assert len({json.dumps(answer) for answer, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1
    with pytest.raises(Conflict) as refused:
        answer_once(tenant, "make", fingerprint("create", "other"), work)
    assert refused.value.code == "IDEMPOTENCY_KEY_REUSED"
    with pytest.raises(Conflict, match="made-once"):
        answer_once(tenant, "fails", mark, work)
    assert answer_once(tenant, "fails", mark, lambda _: {"free": True}) == ({"free": True}, False)


def test_a_run_is_cancelled_once_and_a_finished_one_stays(
    database: Database, tenant: str, workflow: WorkflowSummary
) -> None:
    (run,) = start_runs(tenant, workflow.id, [{}]).run_ids
    assert control.cancel_run(tenant, run) == "queued"
    assert report.read_run(tenant, run).run.ending == "cancelled"
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("UPDATE runs SET status = 'cancelled', finished_at = now() WHERE id = %s", (run,))
    assert control.cancel_run(tenant, run) == "cancelled"
    for unknown in ("x", "0199aaaa-0000-7000-8000-0000000000ff"):
        with pytest.raises(NotFound):
            control.cancel_run(tenant, unknown)
