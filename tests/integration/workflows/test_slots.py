"""The proof of slots: random starts, kills, cancels, deletions and changes of limits never exceed one and never leak.

A worker is simulated straight at the rows. The oracle asks neither `slots` nor the function that admits: what runs has
segments, and each run's limit stands in its version.
"""

import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from nexusflow.db.session import AWAY, close_connections
from nexusflow.errors import ClusterUnusable, Conflict, NotFound
from nexusflow.operations.tenants import limit_tenant
from nexusflow.workflows.saved import library
from nexusflow.workflows.starts.control import cancel_run, pause_run, resume_run
from nexusflow.workflows.starts.starting import start_runs
from tests.integration.workflows.limited import LIVE, change, end, finish_ending, left, rows, save, sweep
from tests.servers.databases import Database

KEYS = ("a", "b", "c")
KEYED = '{{ limit: {0}, key: "${{{{ input.customer }}}}", when_full: {1} }}'
ENDS = ("succeeded", "failed", "timed_out")
CUT_OFF = (ClusterUnusable, Conflict, NotFound, psycopg.Error, *AWAY)
BURST, THREADS = 24, 6

RUNNING = f"""
SELECT r.id::text, r.workflow_id::text, r.input ->> 'customer', (v.config -> 'concurrency' ->> 'limit')::int
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN admissions a ON a.run_id = r.id
WHERE r.{LIVE} AND EXISTS (SELECT FROM segments s WHERE s.run_id = r.id)
ORDER BY a.admitted_at
"""
LIVING = f"SELECT id::text FROM runs WHERE {LIVE} ORDER BY id"


class Storm:
    """Random operations on one tenant."""

    def __init__(self, database: Database, tenant: str, seed: int) -> None:
        self.database, self.tenant, self.chance = database, tenant, random.Random(seed)
        self.workflows: dict[str, str] = {}
        self.running: list[str] = []
        self.most_running = 0
        self.done: Counter[str] = Counter()
        for _ in range(4):
            self.new_workflow()

    def new_workflow(self) -> None:
        name = f"storm-{self.chance.getrandbits(60)}"
        self.workflows[save(self.tenant, name, self.limits())] = name

    def limits(self) -> str:
        when_full = self.chance.choice(("queue", "queue", "refuse", "replace"))
        words = [f"concurrency: {KEYED.format(self.chance.randint(1, 4), when_full)}"]
        if self.chance.random() < 0.3:
            words.append(f"priority: {self.chance.randint(0, 9)}")
        return "\n".join(words)

    def start(self) -> None:
        inputs = [{"customer": self.chance.choice(KEYS)} for _ in range(self.chance.choice((1, 1, 1, 3)))]
        with contextlib.suppress(Conflict):
            start_runs(self.tenant, self.chance.choice(list(self.workflows)), inputs, batch=True)

    def end_one(self) -> None:
        if self.running:
            run = self.chance.choice(self.running)
            with contextlib.suppress(sa.exc.IntegrityError):
                end(self.tenant, run, self.chance.choice(ENDS))

    def control(self) -> None:
        living = [run for (run,) in rows(self.database, LIVING)]
        if living:
            self.chance.choice((cancel_run, pause_run, resume_run, resume_run))(self.tenant, self.chance.choice(living))

    def change_limit(self) -> None:
        workflow, name = self.chance.choice(list(self.workflows.items()))
        change(self.tenant, workflow, name, self.limits())

    def change_tenant(self) -> None:
        self.most_running = self.chance.choice((0, 3, 6, 12))
        limit_tenant("tenant-a", {"running": self.most_running})

    def delete(self) -> None:
        workflow = self.chance.choice(list(self.workflows))
        library.delete_workflow(self.tenant, workflow)
        del self.workflows[workflow]
        self.new_workflow()

    def burst(self) -> None:
        """Many at once, and everything that is connected is cut off in the middle of what it does."""

        def work(operation: Callable[[], None]) -> None:
            with contextlib.suppress(*CUT_OFF):
                operation()

        with ThreadPoolExecutor(THREADS) as threads:
            for operation in self.chance.choices((self.start, self.end_one, sweep, self.control), k=BURST):
                threads.submit(work, operation)
            if self.chance.random() < 0.5:
                time.sleep(self.chance.random() * 0.03)
                with psycopg.connect(self.database.owner_url, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
        close_connections()

    def step(self) -> None:
        operations = {
            self.start: 40, self.end_one: 30, sweep: 14, self.control: 12, self.change_limit: 3,
            self.change_tenant: 2, self.delete: 1, self.burst: 2,
        }  # fmt: skip
        (operation,) = self.chance.choices(list(operations), list(operations.values()))
        operation()
        if self.chance.random() < 0.3:
            finish_ending(self.database)
        self.done[operation.__name__] += 1
        self.look()

    def look(self) -> None:
        """Each run found room when it began, counted with those that still run; what is over holds nothing."""
        found = rows(self.database, RUNNING)
        taken: dict[tuple[str, str], int] = defaultdict(int)
        for run, workflow, key, limit in found:
            taken[workflow, key] += 1
            assert taken[workflow, key] <= limit, (run, found)
        running = [run for run, *_ in found]
        if self.most_running and set(running) - set(self.running):
            assert len(running) <= self.most_running
        self.running = running
        assert left(self.database) == (0, 0)

    def drain(self) -> None:
        """Whatever was accepted begins once others end: nothing holds a slot that nobody has."""
        limit_tenant("tenant-a", {"running": None})
        self.most_running = 0
        for (run,) in rows(self.database, LIVING):
            resume_run(self.tenant, run)
        while rows(self.database, LIVING):
            finish_ending(self.database)
            sweep()
            self.look()
            assert self.running or not rows(self.database, LIVING), "somebody waits for nobody"
            for run in self.running:
                end(self.tenant, run)
        assert rows(self.database, "SELECT (SELECT count(*) FROM admissions) + (SELECT count(*) FROM slots)") == [(0,)]


def storm(database: Database, tenant: str, seed: int, operations: int) -> None:
    made = Storm(database, tenant, seed)
    try:
        for _ in range(operations):
            made.step()
        made.drain()
    except BaseException:
        print(f"seed {seed}, after {sum(made.done.values())}: {dict(made.done)}")
        raise
    finally:
        limit_tenant("tenant-a", {"running": None})


@pytest.mark.parametrize("seed", [1, 2])
def test_random_operations_exceed_no_limit_and_leak_nothing(database: Database, tenant: str, seed: int) -> None:
    storm(database, tenant, seed, 300)


@pytest.mark.property
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(10, 20))
def test_ten_thousand_random_operations_exceed_no_limit_and_leak_nothing(
    database: Database, tenant: str, seed: int
) -> None:
    storm(database, tenant, seed, 1_000)
