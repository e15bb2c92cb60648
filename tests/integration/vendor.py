"""A vendor on loopback that does what a request's body says, and counts: the oracle outside the engine.

A body: ``{"answer": …, "fail": n, "status": 503, "retry_after": s, "sleep": s, "hang": true}``; ``fail`` is how often
a key's calls fail with ``status`` before the first good one (without ``fail``, ``status`` is always the answer), and
``letter`` the number of a character that the error quotes.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_HANG = 60.0


@dataclass
class Call:
    key: str
    body: Any
    at: float
    until: float = 0.0


class Vendor:
    """The running vendor: ``calls`` in order of arrival."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.inside = 0
        self.peaks: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def of(self, run: str) -> list[Call]:
        """The calls made for a run."""
        return [call for call in list(self.calls) if call.key.startswith(run)]

    def keys(self, run: str) -> Counter[str]:
        """How often each key of a run came, without the run's id."""
        return Counter(call.key.removeprefix(f"{run}/") for call in self.of(run))

    def release(self) -> None:
        """Let every hanging call go."""
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def step(self, name: str, needs: str = "", body: Any = None, **words: Any) -> dict[str, Any]:
        """A step that calls this vendor."""
        given = {"method": "POST", "url": self.url, "body": {} if body is None else body}
        return {"id": name, "type": "http.request", "needs": needs.split(), "with": given, **words}

    def answer(self, key: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        """Do as the body says."""
        with self._lock:
            before = self._before[key]
            self._before[key] += 1
            call = Call(key, body, time.monotonic())
            self.calls.append(call)
            run = key.partition("/")[0]
            self._now[run] += 1
            self.peaks[run] = max(self.peaks[run], self._now[run])
        try:
            return self._do(body if isinstance(body, dict) else {}, before)
        finally:
            with self._lock:
                self._now[run] -= 1
                call.until = time.monotonic()

    def _do(self, wish: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        if wish.get("hang"):
            self._released.wait(MAX_HANG)
        time.sleep(wish.get("sleep", 0))
        status = wish.get("status", 503 if "fail" in wish else 200)
        if status != 200 and before < wish.get("fail", 1_000_000):
            headers = {"Retry-After": str(wish["retry_after"])} if "retry_after" in wish else {}
            answer = chr(wish["letter"]) if "letter" in wish else wish.get("answer")
            return status, headers, json.dumps(answer).encode()
        return 200, {}, json.dumps(wish.get("answer")).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 90

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"null")
                status, headers, content = vendor.answer(self.headers.get("idempotency-key", ""), body)
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the client went away, as tests make it do
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def running_vendor() -> Iterator[Vendor]:
    vendor = Vendor()
    try:
        yield vendor
    finally:
        vendor.close()
