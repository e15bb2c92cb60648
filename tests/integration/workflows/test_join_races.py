"""The last two members of a gate finish at the same instant, thousands of times: the follower fires exactly once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.workflows.engine.consequences import Consequences
from nexusflow.workflows.engine.execution import Execution
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows import models, work
from nexusflow.workflows.rows.effects import Fired, Row
from nexusflow.workflows.rows.work import Claim, Hint, Holder
from nexusflow.workflows.starts import service
from tasks.segments import OUTSIDE
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach, transform
from tests.servers.databases import Database

GATES, ROUNDS = 100, 22
HOLDER = Holder("test", "test")


@pytest.fixture(scope="module")
def idle(database: Database) -> Iterator[Cluster]:
    """A database with no worker on it: the test is its two workers."""
    made = Cluster(database, "memory://")
    with made.active():
        yield made


@pytest.fixture
def together() -> Iterator[Callable[..., list[list[Fired]]]]:
    """Do two things at the same instant; what each fired."""
    barrier = threading.Barrier(2)

    def at_once(first: Callable[[], work.Settled], second: Callable[[], work.Settled]) -> list[list[Fired]]:
        def one(act: Callable[[], work.Settled]) -> list[Fired]:
            barrier.wait(10)
            return act().fired

        return list(pool.map(one, (first, second)))

    with ThreadPoolExecutor(2) as pool:
        yield at_once


def _lease_all(tenant: str, run: str) -> Callable[..., Claim]:
    """Make the test the holder of every segment of the run that is ready; its claims by their places."""
    fence = work.new_fence()
    lease = sa.update(models.segments).where(models.segments.c.run_id == run)
    values = {"state": "leased", "fence": fence, "lease_until": sa.text("now() + interval '1 hour'")}
    with tenant_session(tenant) as connection:
        connection.execute(lease.values(values))
    return lambda segment, item="", lo=0: Claim(Hint(tenant, run, segment, item, lo), HOLDER, fence, version="")


def _rows(tenant: str, run: str) -> list[tuple[int, str]]:
    query = sa.select(models.segments.c.segment, models.segments.c.item).where(models.segments.c.run_id == run)
    with tenant_session(tenant) as connection:
        return [(row.segment, row.item) for row in connection.execute(query)]


def _finish_step(plan: Plan, claim: Claim, step: str) -> Callable[[], work.Settled]:
    """Record one step as the last of its segment, as the runner does."""
    consequences = Consequences(plan, claim.hint.segment)
    consequences.conclude(Row(step, claim.hint.item, "succeeded", 1))
    consequences.follow(plan.segments[claim.hint.segment].follows, claim.hint.item)
    return lambda: work.settle(claim, consequences.effects)


def _segment_of(plan: Plan, step: str) -> int:
    return next(
        segment.id for segment in plan.segments if segment.ops[0].path == step and segment.ops[0].kind == "step"
    )


def test_a_gate_of_two_fires_once(idle: Cluster, together: Callable[..., list[list[Fired]]]) -> None:
    """Thousands of gates, each of two members that no other gate has."""
    steps = []
    for number in range(GATES):
        steps += [transform(f"a{number}"), transform(f"b{number}")]
        steps.append(transform(f"c{number}", f"a{number} b{number}", join=["all_success", "all_done"][number % 2]))
    version = idle.save(steps, name="gates")
    plan = version.plan
    for _ in range(ROUNDS):
        run = service.start_run(idle.tenant, version, {})
        claim = _lease_all(idle.tenant, run)
        for number in range(GATES):
            a, b, c = (_segment_of(plan, f"{letter}{number}") for letter in "abc")
            fired = together(_finish_step(plan, claim(a), f"a{number}"), _finish_step(plan, claim(b), f"b{number}"))
            assert [each.segment for each in fired[0] + fired[1]] == [c]
        assert len(_rows(idle.tenant, run)) == GATES


Ender = Callable[[Plan, Callable[..., Claim], int], Callable[[], work.Settled]]


def _end_range(plan: Plan, claim: Callable[..., Claim], index: int) -> Callable[[], work.Settled]:
    """The one item of a lane is done, where an item is one segment."""
    body = plan.scopes["each"]
    consequences = Consequences(plan, body.single or 0)
    consequences.effects.rows += [Row(step, str(index), "succeeded", index) for step in ("each/put", "each")]
    consequences.take_turn(body, "")
    return lambda: work.settle(claim(body.single, "", index), consequences.effects)


def _end_item(plan: Plan, claim: Callable[..., Claim], index: int) -> Callable[[], work.Settled]:
    """The last record of an item is written, where an item is several segments."""
    last = _segment_of(plan, "each/a")
    consequences = Consequences(plan, last)
    consequences.finish_item("each", str(index), Row("each", str(index), "succeeded", 1))
    return lambda: work.settle(claim(last, str(index)), consequences.effects)


@pytest.mark.parametrize(
    ("body", "end"),
    [([transform("put")], _end_range), ([transform("a"), transform("b")], _end_item)],
    ids=["ranges", "items of many segments"],
)
def test_a_foreach_closes_once(
    idle: Cluster, together: Callable[..., list[list[Fired]]], body: list[dict[str, Any]], end: Ender
) -> None:
    version = idle.save([foreach("each", [0, 1], *body)], name="lanes")
    plan = version.plan
    opener = next(segment.id for segment in plan.segments if segment.ops[0].kind == "open")
    for _ in range(300):
        run = service.start_run(idle.tenant, version, {})
        opening = Consequences(plan, opener)
        opening.open_foreach(Row("each", "", "running", items=[0, 1]))
        work.settle(_lease_all(idle.tenant, run)(opener), opening.effects)
        claim = _lease_all(idle.tenant, run)
        fired = together(*(end(plan, claim, index) for index in range(2)))
        assert [each.segment for each in fired[0] + fired[1]] == [plan.closers["each"]]


PAUSE = """
CREATE TABLE pausing (pid int);
GRANT SELECT ON pausing TO PUBLIC;
CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pausing) THEN PERFORM pg_advisory_xact_lock(42); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER pause BEFORE INSERT ON segments FOR EACH ROW EXECUTE FUNCTION pause();
INSERT INTO pausing VALUES (1);
"""
WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"


def test_a_member_that_fires_when_the_follower_is_long_done_repeats_nothing(idle: Cluster, vendor: Vendor) -> None:
    """PostgreSQL stops the first member's statement between its reading and its writing, until all else is over."""
    version = idle.save([transform("a"), transform("b"), vendor.step("c", "a b", body={})], name="late")
    run = service.start_run(idle.tenant, version, {})
    claim, plan = _lease_all(idle.tenant, run), version.plan
    a, b, c = (_segment_of(plan, name) for name in "abc")
    work.record(claim(a), [Row("a", "", "succeeded", 1)], next_timeout=60)
    work.record(claim(b), [Row("b", "", "succeeded", 1)], next_timeout=60)

    def run_c() -> None:
        held = work.claim(Hint(idle.tenant, run, c), HOLDER, known=False)
        assert held is not None
        work.settle(held, Execution(plan, held, {}, OUTSIDE).run())

    with psycopg.connect(idle.database.owner_url, autocommit=True) as owner, ThreadPoolExecutor(1) as pool:
        owner.execute("SELECT pg_advisory_lock(42)")
        owner.execute(PAUSE)
        try:
            late = pool.submit(_finish_step(plan, claim(a), "a"))
            idle.until(lambda: owner.execute(WAITS).fetchone() == (1,), "the first member's statement waits")
            owner.execute("DELETE FROM pausing")
            assert [each.segment for each in _finish_step(plan, claim(b), "b")().fired] == [c]
            run_c()
        finally:
            owner.execute("SELECT pg_advisory_unlock(42)")
            assert [each.segment for each in late.result(10).fired] == [c]
            owner.execute("DROP TRIGGER pause ON segments")
    assert vendor.keys(run) == {"c": 1}
    run_c()
    assert vendor.keys(run) == {"c": 1}
