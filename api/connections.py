"""Connections that bring no request are closed: uvicorn itself waits for a request's head for ever, however long it is.

Who connects and says nothing, or a byte a minute, would otherwise keep a file descriptor until there are none left.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""How long a request's head may take, from its first byte or from when the connection was made."""
MAX_HEAD = 65_536
"""The most bytes of a head; twice what any proxy lets through."""
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 26\r\nconnection: close\r\n\r\n"
    b"The headers are too large."
)


class Connection(HttpToolsProtocol):
    """One client's connection: ``uvicorn --http api.connections:Connection``."""

    _deadline: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request's head."""
        super().connection_made(transport)
        self._expect_head()

    def on_message_begin(self) -> None:
        """Wait for the rest of this head."""
        super().on_message_begin()
        if self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """It is there: what follows has limits of its own."""
        self._forget_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is too large already is refused."""
        super().data_received(data)
        if self._deadline is None:
            return
        self._received += len(data)
        if self._received > MAX_HEAD:
            self._forget_head()
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._forget_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._received = 0
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()
