"""Streams of events: nobody misses one, whatever the order of commits, however many, slow or short the readers."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
import uuid_utils

from tests.integration.api.front import Front, hello
from tests.integration.cluster import Cluster
from tests.integration.db.rows import act_as

READERS = 500


class Reader:
    """Reads a run's stream in this thread, as a browser does: the last ``id:`` is where it comes back to."""

    def __init__(self, front: Front, run: str) -> None:
        self.last = ""
        self.got: list[str] = []
        self.known: set[str] = set()
        self.ended = False
        self._front, self._run = front, run

    def read(self, *, until: int | None = None, seconds: float = 10) -> None:
        """Read until so many different events came in all, the run is over, or the time is."""
        deadline = time.monotonic() + seconds
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last} if self.last else {})
        with self._front.client.stream(
            "GET", f"/v2/runs/{self._run}/events", headers=headers, timeout=seconds
        ) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            try:
                for line in answer.iter_lines():
                    self.take(line)
                    enough = until is not None and len(self.known) >= until
                    if self.ended or enough or time.monotonic() > deadline:
                        return
            except httpx2.ReadTimeout:
                return

    def take(self, line: str) -> None:
        """One line of the stream."""
        if line.startswith("id: "):
            self.last = line[4:]
        elif line == "event: end":
            self.ended = True
        elif line.startswith("data: ") and not self.ended:
            self.got.append(json.loads(line[6:])["id"])
            self.known.add(self.got[-1])


@pytest.fixture
def run(cluster: Cluster) -> Iterator[str]:
    """A run that nothing works on; the test writes its events."""
    made = str(uuid_utils.uuid7())
    with writing(cluster) as session:
        session.execute(
            "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input, status, started_at)"
            " VALUES (%(id)s, %(tenant)s, %(id)s, %(id)s, '{}', 'running', now())",
            {"id": made, "tenant": cluster.tenant},
        )
    yield made
    finish(cluster, made)


@contextmanager
def writing(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """A transaction of the tenant's."""
    with psycopg.connect(cluster.database.runtime_url) as connection:
        act_as(connection, cluster.database.tenant_a)
        yield connection


def tell(session: psycopg.Connection, cluster: Cluster, run: str, kind: str = "step.succeeded") -> str:
    """Write an event; its id."""
    statement = "INSERT INTO run_events (run_id, tenant_id, type) VALUES (%s, %s, %s) RETURNING id"
    row = session.execute(statement, (run, cluster.tenant, kind)).fetchone()
    assert row is not None
    return str(row[0])


def finish(cluster: Cluster, run: str) -> None:
    with writing(cluster) as session:
        session.execute(
            "UPDATE runs SET status = 'cancelled', ending = 'cancelled', cause = 'user', finished_at = now()"
            " WHERE id = %s AND finished_at IS NULL",
            (run,),
        )


def test_an_event_whose_transaction_was_slow_is_missed_by_nobody(front: Front, cluster: Cluster, run: str) -> None:
    stays, leaves = Reader(front, run), Reader(front, run)
    staying = threading.Thread(target=stays.read, kwargs={"seconds": 12})
    staying.start()
    with writing(cluster) as slow:
        held = tell(slow, cluster, run)
        with writing(cluster) as quick:
            first = tell(quick, cluster, run)
        began = time.monotonic()
        leaves.read(until=1)
        assert leaves.got == [first]
        assert time.monotonic() - began < 3, "what is visible is told at once, not when it is complete"
        with writing(cluster) as quick:
            second = tell(quick, cluster, run)
        assert int(held) < int(first) < int(second)
    leaves.read(until=3)
    assert set(leaves.got) == {held, first, second}
    finish(cluster, run)
    staying.join(15)
    assert stays.ended
    assert sorted(stays.got) == sorted({held, first, second}), "who stays gets each once"


def test_a_reader_that_comes_and_goes_misses_nothing_of_concurrent_writers(
    front: Front, cluster: Cluster, run: str
) -> None:
    written: set[str] = set()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(20):
            with writing(cluster) as session:
                told = [tell(session, cluster, run) for _ in range(dice.randint(1, 3))]
                time.sleep(dice.random() * 0.08)
            written.update(told)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for each in writers:
        each.start()
    reader = Reader(front, run)
    while any(each.is_alive() for each in writers):
        reader.read(until=len(reader.known) + 25, seconds=0.6)
    finish(cluster, run)
    reader.read()
    assert reader.ended
    assert set(reader.got) == written


def test_five_hundred_readers_at_once_each_get_all_of_it(front: Front, cluster: Cluster, run: str) -> None:
    with writing(cluster) as session:
        before = [tell(session, cluster, run) for _ in range(5)]

    async def read(client: httpx2.AsyncClient) -> list[str]:
        reader = Reader(front, run)
        async with client.stream("GET", f"/v2/runs/{run}/events") as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                reader.take(line)
                if reader.ended:
                    break
        return reader.got

    async def all_of_them() -> tuple[list[str], list[list[str]], float]:
        limits = httpx2.Limits(max_connections=READERS + 10)
        headers = {"Authorization": f"Bearer {front.secret}"}
        async with httpx2.AsyncClient(base_url=front.url, headers=headers, timeout=30, limits=limits) as client:
            readers = [asyncio.create_task(read(client)) for _ in range(READERS)]
            await asyncio.sleep(1.5)
            with writing(cluster) as session:
                after = [tell(session, cluster, run) for _ in range(5)]
            began = time.monotonic()
            answered = await client.get("/v2/runs?per_page=1")
            waited = time.monotonic() - began
            assert answered.status_code == 200
            await asyncio.to_thread(finish, cluster, run)
            return after, await asyncio.gather(*readers), waited

    after, got, waited = asyncio.run(all_of_them())
    assert [sorted(set(each)) for each in got] == [sorted({*before, *after})] * READERS
    assert waited < 5, "who asks for something else is not kept waiting by them"


def test_a_slow_reader_holds_nobody_up_and_gets_all_in_the_end(front: Front, cluster: Cluster, run: str) -> None:
    place = urlsplit(front.url)
    reader = Reader(front, run)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((place.hostname, place.port))
        head = f"GET /v2/runs/{run}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {front.secret}\r\n\r\n"
        slow.sendall(head.encode())
        slow.recv(1)
        with writing(cluster) as session:
            session.execute(
                "INSERT INTO run_events (run_id, tenant_id, type, step, data) SELECT %s, %s, 'step.succeeded', 's',"
                " jsonb_build_object('text', repeat('x', 300)) FROM generate_series(1, 12000)",
                (run, cluster.tenant),
            )
        quick = Reader(front, run)
        quick.read(until=12_000, seconds=15)
        assert len(quick.known) == 12_000
        finish(cluster, run)
        slow.settimeout(10)
        rest = b""
        while not reader.ended:
            *lines, rest = (rest + slow.recv(1 << 16)).split(b"\n")
            for line in lines:
                if line.startswith((b"data: {", b"event: ")):
                    reader.take(line.decode().strip())
    assert set(reader.got) == set(quick.got)


def test_a_reader_that_hangs_up_is_forgotten(cluster: Cluster, front: Front, run: str) -> None:
    import uvicorn
    from fastapi import FastAPI

    from api import live
    from api.routes import events

    app = FastAPI()
    app.include_router(events.router)

    async def serve() -> tuple[int, int]:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
            server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
            serving = asyncio.create_task(server.serve([listening]))
            while not server.started:
                await asyncio.sleep(0.02)
            head = f"GET /v2/runs/{run}/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {front.secret}\r\n\r\n".encode()
            streams = [await asyncio.open_connection(*listening.getsockname()) for _ in range(3)]
            for reader, writer in streams:
                writer.write(head)
                await reader.readuntil(b"retry:")
            hub = live._hub()
            watched = len(hub._feeds)
            for _, writer in streams:
                writer.close()
            for _ in range(60):
                await asyncio.sleep(0.05)
                if not hub._feeds:
                    break
            left = len(hub._feeds)
            server.should_exit = True
            await serving
            return watched, left

    with cluster.active():
        assert asyncio.run(serve()) == (1, 0)


def test_all_runs_are_followed_by_their_states(front: Front, other: Front) -> None:
    workflow = front.create(hello("followed"))
    seen: list[dict[str, Any]] = []
    with front.client.stream("GET", "/v2/events", timeout=15) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("event: ")) == "event: runs"
        assert isinstance(json.loads(next(lines)[6:]), list)
        started = front.want(202, "POST", f"/v2/workflows/{workflow}/run", {"input": {}})["id"]
        for line in lines:
            if line.startswith("data: ") and (told := json.loads(line[6:]))["id"] == started:
                seen.append(told)
                if told["finished_at"]:
                    break
    assert seen[-1]["status"] == "succeeded"
    assert (seen[-1]["workflow"], seen[-1]["version"], seen[-1]["trigger"]) == ("followed", 1, "api")
    assert other.ask("GET", f"/v2/runs/{started}/events").status_code == 404


def test_events_are_also_pages(front: Front) -> None:
    workflow = front.create(hello("paged"))
    run = front.want(200, "POST", f"/v2/workflows/{workflow}/run?wait=20", {"input": {}})["id"]
    whole = front.get(f"/v2/runs/{run}/events?format=json")
    kinds = [each["type"] for each in whole["events"]]
    assert (kinds[0], kinds[-1], whole["status"]) == ("run.accepted", "run.succeeded", "succeeded")
    got: list[dict[str, Any]] = []
    after = ""
    while page := front.get(f"/v2/runs/{run}/events?format=json&limit=2&after={after}")["events"]:
        got += page
        after = front.get(f"/v2/runs/{run}/events?format=json&limit=2&after={after}")["next"]
    assert got == whole["events"]
    front.refused(422, "INVALID_INPUT", "GET", f"/v2/runs/{run}/events?after=yesterday")
    front.refused(404, "NOT_FOUND", "GET", "/v2/runs/0199aaaa-0000-7000-8000-00000000000c/events")
