"""The vendors' clients of one process: made once a connection, shared by its threads, bounded in number."""

import atexit
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Generic, TypeVar

Client = TypeVar("Client")


class ClientCache(Generic[Client]):
    """The ``size`` clients used last, by what is in their connection; a changed credential makes a new client.

    A client that falls out is not closed here: another thread may be in the middle of a call with it.
    ``close`` is called on what is left when the process ends.
    """

    def __init__(
        self, make: Callable[[Mapping[str, str]], Client], close: Callable[[Client], object], size: int = 16
    ) -> None:
        self._make = make
        self._close = close
        self._size = size
        atexit.register(self._close_all)
        self._lock = Lock()
        self._clients: OrderedDict[frozenset[tuple[str, str]], Client] = OrderedDict()

    def get(self, connection: Mapping[str, str]) -> Client:
        """The client of a connection; made under the lock, so that threads starting together share one."""
        key = frozenset(connection.items())
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = self._make(connection)
                if len(self._clients) > self._size:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(key)
            return client

    def _close_all(self) -> None:
        for client in self._clients.values():
            self._close(client)
