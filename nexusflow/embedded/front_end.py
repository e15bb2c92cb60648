"""Who wants the web front end of a home's cluster, and where: asked by a command, answered by the supervisor.

It runs while the command that asked holds a lock, so that it ends with that command, however the command ends.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from nexusflow.embedded.cluster_info import find
from nexusflow.embedded.home import Home, write_private
from nexusflow.embedded.locks import FileLock, is_held
from nexusflow.embedded.ports import listen
from nexusflow.errors import ClusterUnusable

_WAIT_SECONDS = 1.0  # the supervisor looks at the lock by taking it for a moment


@dataclass(frozen=True)
class Place:
    """Where to listen; where the port is taken and not ``exact``, any free one will do."""

    host: str
    port: int
    exact: bool = False

    def check(self) -> None:
        """Raise ClusterUnusable where it is certain by now that nothing can listen there."""
        with contextlib.suppress(_Taken):
            self._listen(self.port).close()

    def listen(self) -> socket.socket:
        """A socket that listens there, or at a free port. Raises ClusterUnusable."""
        try:
            return self._listen(self.port)
        except _Taken:
            return self._listen(0)

    def _listen(self, port: int) -> socket.socket:
        try:
            return listen(self.host, port)
        except socket.gaierror:
            raise ClusterUnusable(
                f"The host '{self.host}' is not known.", "Give an address of this machine: --host 127.0.0.1."
            ) from None
        except (OSError, OverflowError) as refused:
            if not self.exact and port:
                raise _Taken from None
            reason = (getattr(refused, "strerror", None) or str(refused)).lower()
            raise ClusterUnusable(
                f"Port {port} of {self.host} cannot be listened on: {reason}.",
                "Give another one, --port N, or none for a free one.",
            ) from None


class _Taken(Exception):
    pass


class Request:
    """The wish of this process for a front end."""

    def __init__(self, home: Home, place: Place) -> None:
        self._home = home
        self._lock = FileLock(home.front_end_lock)
        home.create()
        if not self._lock.acquire(shared=False, wait=_WAIT_SECONDS):
            raise _another(home)
        self.move(place)

    def move(self, place: Place) -> None:
        """Ask for another place."""
        write_private(self._home.front_end_file, asdict(place))

    def withdraw(self) -> None:
        """Want it no longer."""
        self._lock.release()


@contextlib.contextmanager
def asking(home: Home, place: Place) -> Iterator[Request]:
    """Ask for the front end while the block lasts. Raises ClusterUnusable where another command has it."""
    place.check()
    request = Request(home, place)
    try:
        yield request
    finally:
        request.withdraw()


def asked(home: Home) -> Place | None:
    """Where somebody wants the front end now, if anybody does."""
    if not is_held(home.front_end_lock, exclusively=True):
        return None
    try:
        return Place(**json.loads(home.front_end_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _another(home: Home) -> ClusterUnusable:
    info = find(home)
    at = f" on port {info.ports['web']}" if info is not None and "web" in info.ports else ""
    return ClusterUnusable(
        f"Another nexusflow up serves {home.path}{at}.",
        "Use that one, stop it, or set NEXUSFLOW_HOME to another folder for a cluster of its own.",
    )
