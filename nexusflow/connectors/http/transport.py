"""HTTP connections that are made to checked addresses only and never outlive the step's deadline."""

import atexit
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpcore2

from nexusflow.connectors.http.addresses import resolve

CONNECTIONS = 128
IDLE_CONNECTIONS = 32
IDLE_SECONDS = 15.0

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class _Deadline(threading.local):
    """When the calling thread's request must be over, on time.monotonic()'s clock."""

    at = float("inf")

    def left(self, timeout: float | None) -> float:
        left = self.at - time.monotonic()
        return max(0.001, left if timeout is None else min(left, timeout))


_deadline = _Deadline()


class TimedStream(httpcore2.NetworkStream):
    """A stream whose every read and write ends by the deadline: a server that drips bytes gains no time."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most ``max_bytes``; raises ReadTimeout at the deadline."""
        if _deadline.at <= time.monotonic():
            raise httpcore2.ReadTimeout("the step's time is over")
        return self._stream.read(max_bytes, _deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all; raises WriteTimeout at the deadline."""
        self._stream.write(buffer, _deadline.left(timeout))

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """The same stream, encrypted, with the certificate checked against the host's name."""
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, _deadline.left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        """What the socket knows."""
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore2.NetworkBackend):
    """Resolves a name once, checks what it found and connects to exactly that: no second look-up to lie to."""

    def __init__(self, allowed: str) -> None:
        self._allowed = allowed
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the first checked address that answers."""
        refused: Exception | None = None
        for address in resolve(host, port, self._allowed):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, _deadline.left(timeout), local_address, socket_options or ()
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                refused = error
            else:
                return TimedStream(stream)
        raise refused or httpcore2.ConnectError("no address")


@lru_cache(maxsize=4)
def shared_pool(allowed: str) -> httpcore2.ConnectionPool:
    """The process's pool of kept-alive connections for one answer to "which addresses are allowed"."""
    pool = httpcore2.ConnectionPool(
        ssl_context=httpcore2.default_ssl_context(),
        max_connections=CONNECTIONS,
        max_keepalive_connections=IDLE_CONNECTIONS,
        keepalive_expiry=IDLE_SECONDS,
        network_backend=GuardedBackend(allowed),
    )
    atexit.register(pool.close)
    return pool


@contextmanager
def send(allowed: str, request: httpcore2.Request, seconds: float) -> Iterator[httpcore2.Response]:
    """Send a request and yield its answer, the body still on the wire; all of it within ``seconds``."""
    request.extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)}
    _deadline.at = time.monotonic() + seconds
    try:
        with_body = shared_pool(allowed).handle_request(request)
        try:
            yield with_body
        finally:
            with_body.close()
    finally:
        _deadline.at = float("inf")
