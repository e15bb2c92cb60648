"""The private servers of one test session: started when first needed, those that will be needed side by side."""

from collections.abc import Callable, Iterable

from nexusflow.embedded.broker import find_program
from tests.servers.guardian import guardian
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server

MAKERS: dict[str, Callable[[], Server]] = {
    "rabbitmq": RabbitMQServer,
    "postgres": PostgresServer,
    "redis": RedisServer,
    "valkey": lambda: RedisServer(find_program()),
}
DEPENDENTS = {"database": "postgres"}


class ServerPool:
    """Servers by fixture name."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}

    def get(self, name: str, also_needed: Iterable[str] = ()) -> Server:
        """The running server of this name. The first call launches ``also_needed`` as well, not waiting for them."""
        if name not in self._servers:
            wanted = {DEPENDENTS.get(each, each) for each in also_needed} | {name}
            for each, make in MAKERS.items():  # the slowest first
                if each in wanted and each not in self._servers:
                    self._servers[each] = make()
                    self._servers[each].launch()
        server = self._servers[name]
        if not server.is_running:  # a test killed it and left it so
            server.launch()
        server.wait_ready()
        return server

    def close(self) -> None:
        """End all servers and remove what they wrote."""
        for server in self._servers.values():
            server.kill()
        guardian.finish()
