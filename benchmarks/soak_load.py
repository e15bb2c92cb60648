"""The mixed load of the soak: kinds of runs, the clients that start them over HTTP, and readers who look on."""

import contextlib
import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LATENCY = 0.02
"""Seconds the vendor takes for a call."""
LARGE_CHARACTERS = 400_000
ITEMS = 20
MIX = ["light"] * 12 + ["items"] * 3 + ["retry"] * 2 + ["failing", "large", "cancelled"]
"""Of twenty runs: plain ones of three steps, a foreach, one whose vendor refuses at first, and so on."""


def definitions(vendor: str) -> dict[str, dict[str, Any]]:
    """A workflow for each kind of run; ``vendor`` is the address that ``http.request`` calls."""

    def call(name: str, needs: list[str], **body: Any) -> dict[str, Any]:
        given = {"method": "POST", "url": vendor, "body": {"sleep": LATENCY, **body}}
        return {"id": name, "type": "http.request", "needs": needs, "with": given}

    def transform(name: str, needs: list[str], jq: str) -> dict[str, Any]:
        return {"id": name, "type": "transform", "needs": needs, "with": {"input": "${{ input.number }}", "jq": jq}}

    retried = call("call", ["before"], fail=1) | {"retry": {"initial": "200ms", "max": 3}}
    large = {"id": "big", "type": "transform", "with": {"jq": f'"x" * {LARGE_CHARACTERS}'}}
    each = {
        "id": "each",
        "type": "foreach",
        "needs": ["numbers"],
        "with": {"items": "${{ steps.numbers.output }}", "max_parallel": 8},
        "steps": [call("put", [], answer="${{ item }}")],
    }
    light = [transform("before", [], ". + 1"), call("call", ["before"]), transform("after", ["call"], ". * 2")]
    steps: dict[str, list[dict[str, Any]]] = {
        "light": light,
        "items": [transform("numbers", [], f"[range({ITEMS})]"), each, transform("count", ["each"], ".")],
        "retry": [transform("before", [], "."), retried],
        "failing": [call("before", []), transform("bad", ["before"], 'error("as meant")')],
        "large": [
            large,
            {**transform("size", ["big"], "."), "with": {"input": "${{ steps.big.output }}", "jq": "length"}},
        ],
        "cancelled": [call("slow", [], answer=1) | {"with": call("slow", [])["with"] | {"body": {"sleep": 2}}}],
    }
    made = {kind: {"nexusflow": "1", "name": f"soak-{kind}", "steps": each} for kind, each in steps.items()}
    tick = [{"type": "schedule", "interval": "1s", "misfire": "all", "input": {"number": 1}}]
    made["ticking"] = {"nexusflow": "1", "name": "soak-ticking", "triggers": tick, "steps": light}
    return made


@dataclass
class Client:
    """A keep-alive connection to the front end, made again when it breaks."""

    port: int
    secret: str
    _connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the decoded body. Raises OSError, http.client.HTTPException."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json", **headers}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        return answer.status, json.loads(content) if content else None


@dataclass
class Load:
    """Clients that start runs: as fast as they can while ``is_open`` is set, or ``rate`` a second in all.

    ``name`` begins the idempotency keys, which must differ between two loads.
    """

    port: int
    secret: str
    workflows: dict[str, str]
    name: str = "soak"
    clients: int = 16
    rate: float | None = None
    accepted: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self.is_open = threading.Event()
        self.is_open.set()
        self._places = itertools.count()
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(self.clients)]

    def start(self) -> None:
        """Start the clients."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopped.set()
        self.is_open.set()
        for thread in self._threads:
            thread.join(90)

    def _work(self, seed: int) -> None:
        client, chance = Client(self.port, self.secret), random.Random(seed)
        while not self._stopped.is_set():
            self.is_open.wait()
            place = next(self._places)
            if self.rate is not None and self._stopped.wait(
                max(0.0, self._began + place / self.rate - time.monotonic())
            ):
                return
            try:
                self._start_run(client, chance.choice(MIX), place)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.errors.append(repr(error))
                self._stopped.wait(0.5)

    def _start_run(self, client: Client, kind: str, place: int) -> None:
        began = time.monotonic()
        path = f"/v2/workflows/{self.workflows[kind]}/run"
        key = {"Idempotency-Key": f"{self.name}-{place}"} if place % 2 else {}
        status, body = client.ask("POST", path, {"input": {"number": place}}, **key)
        self.latencies.append(time.monotonic() - began)
        if status != 202:
            self.errors.append(f"{status} {body}")
            return
        self.accepted[kind] += 1
        if kind == "cancelled":
            client.ask("POST", f"/v2/runs/{body['data']['id']}/cancel", {})


class Readers:
    """Who looks on: lists, single runs, and event streams that are opened, read for a while and left."""

    def __init__(self, port: int, secret: str, streams: int = 5) -> None:
        self._port, self._secret = port, secret
        self._stopped = threading.Event()
        self.seen: Counter[str] = Counter()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._look)]
        self._threads += [threading.Thread(target=self._listen) for _ in range(streams)]

    def start(self) -> None:
        """Start looking."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _look(self) -> None:
        client = Client(self._port, self._secret)
        queries = itertools.cycle(["", "?status=failed", "?status=running", "?sort=accepted_at", "?text=soak-retry"])
        while not self._stopped.wait(0.5):
            with self._tolerance():
                status, body = client.ask("GET", f"/v2/runs{next(queries)}")
                self.seen[f"list {status}"] += 1
                for run in (body.get("data") or [])[:1]:
                    for part in ("", "/steps"):
                        status, _ = client.ask("GET", f"/v2/runs/{run['id']}{part}")
                        self.seen[f"run {status}"] += 1

    def _listen(self) -> None:
        while not self._stopped.is_set():
            with self._tolerance():
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
                with contextlib.closing(connection):
                    connection.request("GET", "/v2/events", headers={"Authorization": f"Bearer {self._secret}"})
                    answer = connection.getresponse()
                    until = time.monotonic() + 20
                    while time.monotonic() < until and not self._stopped.is_set() and answer.readline():
                        self.seen["event lines"] += 1

    @contextlib.contextmanager
    def _tolerance(self) -> Any:
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            self.errors.append(repr(error))
            self._stopped.wait(0.5)
