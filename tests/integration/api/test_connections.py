"""Connections whose client says nothing, or never ends its first sentence."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from api import connections
from api.connections import Connection
from tests.servers.server import HOST, free_port

PATIENCE = 0.4
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers after longer than a head may take."""
    body = b""
    while not body.endswith(b"!"):
        message = await receive()
        body += message.get("body", b"") or b"!"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_SECONDS", PATIENCE)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(slow_app, host=HOST, port=port, http=Connection, lifespan="off", log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join(10)


def _connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=5)


@pytest.mark.parametrize("said", [b"", b"GET / HT", GET + b"X-Slow: a"])
def test_who_never_ends_a_head_is_left(port: int, said: bytes) -> None:
    with _connected(port) as client:
        client.sendall(said)
        began = time.monotonic()
        assert client.recv(100) == b""
        assert PATIENCE * 0.5 < time.monotonic() - began < 4


def test_who_ended_the_head_has_time_and_so_has_the_next_request(port: int) -> None:
    with _connected(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        time.sleep(PATIENCE * 1.5)
        client.sendall(b"!")
        assert client.recv(200).startswith(b"HTTP/1.1 200")
        time.sleep(PATIENCE * 1.5)
        client.sendall(GET + b"Content-Length: 1\r\n\r\n!")
        assert client.recv(200).startswith(b"HTTP/1.1 200"), "an idle connection is kept"
        client.sendall(GET)
        assert client.recv(100) == b"", "and its next head has to end, too"


def test_a_head_has_a_size(port: int) -> None:
    with _connected(port) as client:
        client.sendall(GET)
        for _ in range(100):
            try:
                client.sendall(b"X-Long: " + b"a" * 8_000 + b"\r\n")
            except OSError:
                break
        assert client.recv(200).startswith(b"HTTP/1.1 431")
