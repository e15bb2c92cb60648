"""A private Redis or Valkey that keeps nothing."""

from collections.abc import Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.programs import find_redis
from tests.servers.server import HOST, Server, ServerDidNotStart

PASSWORD = "redis-password"


class RedisServer(Server):
    """Redis from the machine, or any program that speaks its protocol."""

    name = "redis"
    start_seconds = 20.0

    def __init__(self, program: Path | None = None) -> None:
        super().__init__()
        found = program or find_redis()
        if found is None:
            raise ServerDidNotStart("Redis is not on this machine: make test installs it or says how.")
        self.program = found

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        return f"redis://:{PASSWORD}@{HOST}:{self.port}/{database}"

    def command(self) -> Sequence[str]:
        options = {
            "--port": str(self.port),
            "--bind": HOST,
            "--requirepass": PASSWORD,
            "--save": "",
            "--appendonly": "no",
            "--dir": str(self.folder),
        }
        return [str(self.program), *(part for pair in options.items() for part in pair)]

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(host=HOST, port=self.port, password=PASSWORD, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def flush(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()
