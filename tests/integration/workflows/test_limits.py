"""Limits of runs, decided by rows alone: who begins, who waits, who makes way, and who is told what."""

import datetime
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psycopg
import pytest

from nexusflow.db.session import control_session, tenant_session
from nexusflow.errors import Conflict, InvalidInput, NotFound, QueueFull
from nexusflow.operations.tenants import limit_tenant, list_tenants
from nexusflow.workflows.clock.dispatch import DUE, USUAL
from nexusflow.workflows.reports.report import read_events, read_run
from nexusflow.workflows.saved import library
from nexusflow.workflows.starts.control import cancel_run, pause_run, resume_run
from nexusflow.workflows.starts.starting import start_runs
from tests.integration.workflows.limited import (
    begun,
    change,
    end,
    finish_ending,
    left,
    rows,
    save,
    start,
    sweep,
)
from tests.servers.databases import Database

TAKEN = "SELECT run_id::text, admitted_at FROM slots WHERE run_id = ANY(%s::uuid[]) AND admitted_at IS NOT NULL"
CUSTOMER = '"${{ input.customer }}"'


def test_no_more_runs_than_the_limit_and_the_longest_waiting_comes_first(database: Database, tenant: str) -> None:
    workflow = save(tenant, "two-at-once", "concurrency: { limit: 2 }")
    runs = [start(tenant, workflow) for _ in range(5)]
    assert begun(database, runs) == runs[:2]
    sweep()
    assert begun(database, runs) == runs[:2]
    end(tenant, runs[0], "failed")
    late = start(tenant, workflow)
    assert begun(database, [late]) == [], "nobody is overtaken, not even before the dispatcher came"
    sweep()
    assert begun(database, [*runs, late]) == runs[1:3]
    assert [event.type for event in read_events(tenant, runs[2])] == ["run.accepted", "run.admitted"]
    for run in [*runs[1:], late]:
        end(tenant, run)
        sweep()
    assert left(database) == (0, 0)


def test_each_value_of_a_key_has_its_own_slots_and_a_run_needs_all_of_its_limits(
    database: Database, tenant: str
) -> None:
    limits = f"concurrency: [{{ limit: 1, key: {CUSTOMER} }}, {{ limit: 2 }}]"
    workflow = save(tenant, "of-each", limits)
    with psycopg.connect(database.control_url, autocommit=True) as listener:
        a1, a2 = (start(tenant, workflow, customer="a") for _ in range(2))
        listener.execute("LISTEN nexusflow_work")
        b1 = start(tenant, workflow, customer="b")
        assert tenant in [news.payload for news in listener.notifies(timeout=5, stop_after=2)], "a2 may come first"
    sweep()
    c1 = start(tenant, workflow, customer="c")
    assert begun(database, [a1, a2, b1, c1]) == [a1, b1]
    end(tenant, b1)
    sweep()
    assert begun(database, [a2, c1]) == [c1], "who waits for another key is in nobody's way"
    none, null = start(tenant, workflow), start(tenant, workflow, customer=None)
    end(tenant, a1)
    end(tenant, c1)
    sweep()
    assert begun(database, [a2, none, null]) == [a2, none], "what is missing and null are one key"


def test_a_start_is_refused_where_the_limit_says_so_but_not_sent_again(tenant: str) -> None:
    workflow = save(tenant, "refusing", f"concurrency: {{ limit: 2, key: {CUSTOMER}, when_full: refuse }}")
    first = start_runs(tenant, workflow, [{"customer": "a"}], idempotency_key="refused-or-not")
    start(tenant, workflow, customer="a")
    with pytest.raises(Conflict, match="2 runs with the key 'a' already, and its limit is 2") as refused:
        start(tenant, workflow, customer="a")
    assert refused.value.code == "LIMIT_REACHED"
    again = start_runs(tenant, workflow, [{"customer": "a"}], idempotency_key="refused-or-not")
    assert (again.run_ids, again.replayed) == (first.run_ids, True)
    with pytest.raises(Conflict):
        start_runs(tenant, workflow, [{"customer": "b"}] * 3, batch=True)
    start_runs(tenant, workflow, [{"customer": "b"}] * 2, batch=True)
    cancel_run(tenant, first.run_ids[0])
    with pytest.raises(Conflict):
        start(tenant, workflow, customer="a")
    end(tenant, first.run_ids[0], "cancelled")
    start(tenant, workflow, customer="a")


def test_the_oldest_makes_way_for_the_newest_which_begins_when_it_has_gone(database: Database, tenant: str) -> None:
    workflow = save(tenant, "replacing", "concurrency: { limit: 1, when_full: replace }")
    first, second, third = (start(tenant, workflow) for _ in range(3))
    assert begun(database, [first, second, third]) == [first]
    sweep()
    assert begun(database, [second, third]) == [], "its slot is held until it is over"
    assert sorted(finish_ending(database)) == sorted([first, second])
    sweep()
    assert begun(database, [third]) == [third]
    error = read_run(tenant, first).run.error or {}
    assert (error["code"], error["cause"], error["details"]) == ("REPLACED", "user", {"run": second})
    assert (read_run(tenant, second).run.error or {})["details"] == {"run": third}


def test_fifty_starts_at_once_of_a_singleton_are_one_run(database: Database, tenant: str) -> None:
    workflow = save(tenant, "only-one", "singleton: true")
    with ThreadPoolExecutor(16) as threads:
        started = list(
            threads.map(lambda n: start_runs(tenant, workflow, [{}], idempotency_key=f"only-{n}"), range(50))
        )
    runs = {each.run_ids[0] for each in started}
    assert len(runs) == 1
    assert sorted(each.replayed for each in started) == [False] + [True] * 49
    assert rows(database, "SELECT count(*) FROM runs WHERE workflow_id = %s", workflow) == [(1,)]
    end(tenant, runs.pop())
    kept = start_runs(tenant, workflow, [{}], idempotency_key="only-7")
    assert (kept.run_ids, kept.replayed) == (started[7].run_ids, True), "a key's answer is kept, that of a reuse too"
    fresh = start_runs(tenant, workflow, [{}, {}], batch=True)
    assert fresh.run_ids[0] == fresh.run_ids[1] != started[0].run_ids[0]
    library.archive_workflow(tenant, workflow)
    with pytest.raises(Conflict, match="archived"):
        start(tenant, workflow)


def test_no_more_runs_begin_within_a_time_than_the_rate(database: Database, tenant: str) -> None:
    workflow = save(tenant, "rated", "rate: { limit: 3, per: 1s }")
    began = time.monotonic()
    runs = [start(tenant, workflow) for _ in range(8)]
    assert begun(database, runs) == runs[:3]
    times: dict[str, datetime.datetime] = dict(rows(database, TAKEN, runs))
    for run in runs[:3]:
        end(tenant, run)
    while len(times) < len(runs):
        times |= dict(rows(database, TAKEN, runs))
        sweep()
        time.sleep(0.05)
    assert time.monotonic() - began >= 2.0
    order = [times[run] for run in runs]
    gaps = [(later - earlier).total_seconds() for earlier, later in zip(order, order[3:], strict=False)]
    assert min(gaps) >= 1.0


def test_of_runs_that_come_close_together_the_last_one_runs(database: Database, tenant: str) -> None:
    workflow = save(tenant, "debounced", f"debounce: {{ wait: 400ms, key: {CUSTOMER} }}")
    other = start(tenant, workflow, customer="b")
    runs = [start(tenant, workflow, customer="a") for _ in range(4)]
    sweep()
    assert begun(database, [*runs, other]) == []
    time.sleep(0.5)
    sweep()
    assert begun(database, [*runs, other]) == [runs[3], other]
    assert sorted(finish_ending(database)) == sorted(runs[:3])
    for earlier, later in pairwise(runs):
        error = read_run(tenant, earlier).run.error or {}
        assert (error["code"], error["details"]) == ("DEBOUNCED", {"run": later})
    start(tenant, workflow, customer="a")
    assert finish_ending(database) == [], "what has begun goes on"


def test_priority_goes_first_and_each_minute_of_waiting_counts_as_one(database: Database, tenant: str) -> None:
    limits = 'concurrency: { limit: 1 }\npriority: "${{ input.urgency }}"'
    workflow = save(tenant, "by-priority", limits)
    running = start(tenant, workflow)
    low, usual, high = (start(tenant, workflow, urgency=urgency) for urgency in (0, 5, 9))
    with psycopg.connect(database.owner_url) as connection:
        for table in ("slots", "admissions"):
            connection.execute(f"UPDATE {table} SET turn = turn - interval '9m' WHERE run_id = %s", (low,))
    latest = start(tenant, workflow, urgency=9)
    order = []
    for _ in range(4):
        end(tenant, running)
        sweep()
        (running,) = begun(database, [low, usual, high, latest])
        order.append(running)
    assert order == [low, high, latest, usual]
    for wrong in (10, -1, "high", 1.5, True):
        with pytest.raises(InvalidInput, match="must be a whole number from 0 to 9"):
            start(tenant, workflow, urgency=wrong)


def test_a_tenants_limit_holds_for_all_its_runs_and_a_raised_one_at_once(database: Database, tenant: str) -> None:
    other = str(database.tenant_b)
    plain, limited = save(other, "plain"), save(other, "limited", "concurrency: { limit: 9 }")
    before = [start(other, plain) for _ in range(2)]
    assert limit_tenant("tenant-b", {"running": 3, "weight": 2}).most_running == 3
    runs = [start(other, workflow) for workflow in (plain, limited, plain)]
    assert begun(database, [*before, *runs]) == [*before, runs[0]]
    assert read_run(other, runs[2]).run.waits_for.message == (  # type: ignore[union-attr]
        "It waits for a slot: 3 of the tenant's 3 runs run; 1 is before it."
    )
    with psycopg.connect(database.control_url, autocommit=True) as listener:
        listener.execute("LISTEN nexusflow_work")
        limit_tenant("tenant-b", {"running": 4})
        assert [news.payload for news in listener.notifies(timeout=5, stop_after=1)] == [other]
        sweep()
        assert begun(database, runs) == runs[:2]
        end(other, runs[1])
        assert other in [news.payload for news in listener.notifies(timeout=5, stop_after=1)]
    limit_tenant("tenant-b", {"running": 1})
    sweep()
    assert begun(database, runs) == [runs[0]]
    for run in [*before, runs[0]]:
        end(other, run)
    sweep()
    assert begun(database, runs) == [runs[2]]
    limit_tenant("tenant-b", {"running": 0})
    (line,) = (each for each in list_tenants() if each.name == "tenant-b")
    assert (line.running + line.queued, line.max_running, line.weight) == (1, 0, 2)
    limit_tenant("tenant-b", {"running": None})
    with pytest.raises(NotFound, match="no tenant 'tenant-c'"):
        limit_tenant("tenant-c", {"running": 1})
    for wrong in ({}, {"running": -1}, {"weight": 0}, {"weight": None}, {"queued": 2**31}):
        with pytest.raises(InvalidInput):
            limit_tenant("tenant-b", wrong)


def test_a_full_queue_refuses_with_how_many_wait_and_answers_what_it_had_accepted(
    database: Database, tenant: str
) -> None:
    other = str(database.tenant_b)
    workflow = save(other, "queueing", "concurrency: { limit: 1 }")
    waiting = rows(database, "SELECT id FROM runs WHERE tenant_id = %s AND status = 'queued'", other)
    limit_tenant("tenant-b", {"queued": len(waiting) + 3})
    try:
        first = start_runs(other, workflow, [{}], idempotency_key="first")
        start_runs(other, workflow, [{}, {}], batch=True)
        told = f"{len(waiting) + 3} runs wait to start already, and at most {len(waiting) + 3} may"
        with pytest.raises(QueueFull, match=told) as refused:
            start(other, workflow)
        assert 1 <= refused.value.retry_in <= 60
        with tenant_session(other) as connection, pytest.raises(QueueFull, match=told):
            start_runs(other, workflow, [{}], connection=connection)
        assert start_runs(other, workflow, [{}], idempotency_key="first").run_ids == first.run_ids
        end(other, first.run_ids[0])
        start(other, workflow)
    finally:
        limit_tenant("tenant-b", {"queued": None})


def test_what_waits_can_be_cancelled_paused_and_resumed(database: Database, tenant: str) -> None:
    workflow = save(tenant, "held", "concurrency: { limit: 1 }")
    running, paused, cancelled, last = (start(tenant, workflow) for _ in range(4))
    assert pause_run(tenant, paused) == "paused"
    cancel_run(tenant, cancelled)
    assert finish_ending(database) == [cancelled]
    assert pause_run(tenant, running) == "paused"
    sweep()
    assert begun(database, [paused, last]) == [], "a paused run keeps its slot"
    assert resume_run(tenant, running) == "queued"
    end(tenant, running)
    sweep()
    assert begun(database, [paused, last]) == [last]
    assert resume_run(tenant, paused) == "queued"
    library.delete_workflow(tenant, workflow)
    end(tenant, last)
    sweep()
    assert begun(database, [paused]) == [paused], "a deleted workflow's accepted runs go on"


def test_a_versions_limit_is_that_of_its_own_runs(database: Database, tenant: str) -> None:
    workflow = save(tenant, "changing", "concurrency: { limit: 3 }")
    runs = [start(tenant, workflow) for _ in range(4)]
    change(tenant, workflow, "changing", "concurrency: { limit: 1 }")
    newer = start(tenant, workflow)
    end(tenant, runs[0])
    sweep()
    assert begun(database, [*runs, newer]) == runs[1:]
    for run in runs[1:3]:
        end(tenant, run)
    sweep()
    assert begun(database, [newer]) == []
    end(tenant, runs[3])
    sweep()
    assert begun(database, [newer]) == [newer]


def test_a_run_says_what_it_waits_for(database: Database, tenant: str) -> None:
    workflow = save(tenant, "telling", f"concurrency: {{ limit: 1, key: {CUSTOMER} }}")
    runs = [start(tenant, workflow, customer="ACME") for _ in range(3)]
    told = [read_run(tenant, run).run.waits_for for run in runs]
    assert told[0] is None
    assert [(each.reason, each.before, each.message) for each in told[1:] if each] == [
        ("slot", 0, "It waits for a slot: 1 of 1 run of telling with the key ACME run; it is next."),
        ("slot", 1, "It waits for a slot: 1 of 1 run of telling with the key ACME run; 1 is before it."),
    ]
    with tenant_session(tenant) as connection:
        connection.exec_driver_sql("UPDATE runs SET started_at = now() - interval '2m' WHERE id = %s", (runs[0],))
    end(tenant, runs[0])
    sweep()
    waits = read_run(tenant, runs[2]).run.waits_for
    assert waits is not None
    assert waits.seconds == pytest.approx(120, abs=5)
    assert waits.message.endswith("it is next; about 2 min.")
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("UPDATE segments SET due_at = now() - interval '1m' WHERE run_id = %s", (runs[1],))
    worker = read_run(tenant, runs[1]).run.waits_for
    assert worker is not None
    assert worker.reason == "worker"
    rated = save(tenant, "telling-rates", "rate: { limit: 1, per: 1h }")
    start(tenant, rated)
    waits = read_run(tenant, start(tenant, rated)).run.waits_for
    assert waits is not None
    assert waits.message == "It waits for its turn: 1 run of telling-rates began within 1h; it is next; about 60 min."
    quiet = read_run(tenant, start(tenant, save(tenant, "telling-pauses", "debounce: { wait: 1h }"))).run.waits_for
    assert quiet is not None
    assert (quiet.reason, round((quiet.seconds or 0) / 60)) == ("debounce", 60)


def test_tenants_take_turns_by_their_weights(database: Database, tenant: str) -> None:
    other = str(database.tenant_b)
    start_runs(tenant, save(tenant, "flood-a"), [{}] * 60, batch=True)
    start_runs(other, save(other, "flood-b"), [{}] * 60, batch=True)
    limit_tenant("tenant-a", {"weight": 3})
    limit_tenant("tenant-b", {"weight": 1})
    with control_session() as connection:
        taken = connection.execute(DUE, {"batch": 40, "windows": "{}", "first": 1_000, "usual": USUAL}).all()
        connection.exec_driver_sql("UPDATE segments SET published_at = NULL")
    by_tenant = [str(row.tenant_id) for row in taken]
    assert (by_tenant.count(tenant), by_tenant.count(other)) == (30, 10)
