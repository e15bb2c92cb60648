"""What a cluster's processes stand on: servers started here for one home, or those that the settings name."""

from collections.abc import Callable
from typing import Protocol

from nexusflow.embedded.broker import CACHE_DATABASE, Broker
from nexusflow.embedded.home import Home
from nexusflow.embedded.parts import Part
from nexusflow.embedded.postgres import Postgres
from nexusflow.embedded.procfile import WEB_GRACE
from nexusflow.embedded.schema import Schema, ensure_schema
from nexusflow.embedded.vendor_server import VendorServer
from nexusflow.settings import Settings

Report = Callable[[str], None]


class Servers(Protocol):
    """What the assembly needs to know of them; everything but ``modules`` and ``stop`` from ``start`` on."""

    @property
    def modules(self) -> tuple[str, ...]:
        """What the processes import only because it is these servers."""

    @property
    def web_grace(self) -> int:
        """Seconds that a front end which was told to stop gives the requests it is at."""

    @property
    def parts(self) -> list[Part]:
        """The servers as processes to keep alive."""

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead to the servers, where they are not those of this process."""

    @property
    def owner_url(self) -> str:
        """The database as its owner; empty where that is not ours to know."""

    @property
    def ports(self) -> dict[str, int]:
        """Where the servers started here listen."""

    def start(self, meanwhile: Callable[[], None]) -> None:
        """Have them ready, and do something useful while they start. Raises ClusterUnusable."""

    def busy(self) -> int | None:
        """How many pieces of work are under way right now; None where that cannot be said."""

    def stop(self) -> None:
        """End what was started."""


class EmbeddedServers:
    """PostgreSQL, Valkey and the local vendors of one home."""

    modules: tuple[str, ...] = ("kombu.transport.redis",)
    web_grace = 2  # readers of events hold their connections open: nobody at a terminal wants to wait for them

    def __init__(self, home: Home, report: Report) -> None:
        self._home = home
        self._report = report
        self._started: list[Postgres | Broker | VendorServer] = []
        self.parts: list[Part] = []
        self.environment: dict[str, str] = {}
        self.owner_url = ""
        self.ports: dict[str, int] = {}

    def start(self, meanwhile: Callable[[], None]) -> None:
        """Start them all. Raises ClusterUnusable."""
        postgres, broker, vendors = Postgres(self._home), Broker(self._home), VendorServer(self._home)
        self._report(f"starting PostgreSQL {postgres.version}, Valkey and the local vendors")
        for quick in (broker, vendors):
            self._started.append(quick)
            quick.launch()
        if postgres.is_new:
            self._report(f"making a new database in {postgres.places.data}")
        postgres.prepare()
        self._started.insert(0, postgres)
        postgres.launch()
        meanwhile()
        postgres.wait_ready()
        schema = ensure_schema(postgres, self._home, self._report)
        broker.wait_ready()
        vendors.wait_ready()
        for name, server in (("postgres", postgres), ("valkey", broker), ("vendors", vendors)):
            self._keep(name, server)
        self.environment = self._environment(schema, postgres, broker, vendors)
        self.owner_url = postgres.url()
        self.ports = {"postgres": postgres.port, "valkey": broker.port, **vendors.ports}

    def busy(self) -> int | None:
        """How many segments the workers are at. Without a database nothing that ends now could be recorded: 0."""
        import psycopg  # noqa: PLC0415 - not before the servers start, for it takes a while

        try:
            with psycopg.connect(self.owner_url, connect_timeout=2) as connection:
                leased = connection.execute("SELECT count(*) FROM segments WHERE state = 'leased'").fetchone()
        except psycopg.Error:
            return 0
        return int(leased[0]) if leased else 0

    def stop(self) -> None:
        """End them, PostgreSQL last."""
        for server in reversed(self._started):
            server.stop()

    def _environment(self, schema: Schema, postgres: Postgres, broker: Broker, vendors: VendorServer) -> dict[str, str]:
        secrets = self._home.secrets()
        settings = Settings()
        environment = {
            "NEXUSFLOW_HOME": str(self._home.path),
            "NEXUSFLOW_DATABASE_URL": postgres.url(schema.runtime_role, secrets.runtime_password),
            "NEXUSFLOW_CONTROL_DATABASE_URL": postgres.url(schema.control_role, secrets.control_password),
            "NEXUSFLOW_BROKER_URL": broker.url(),
            "NEXUSFLOW_REDIS_URL": broker.url(CACHE_DATABASE),
            **({} if settings.storage_url else {"NEXUSFLOW_STORAGE_URL": self._home.storage_url}),
            "NEXUSFLOW_ALLOW_PRIVATE_ADDRESSES": settings.allow_private_addresses or "loopback",
        }
        for connection, values in vendors.connections().items():
            if connection not in settings.connections:  # real credentials go to the real vendor
                for key, value in values.items():
                    environment[f"NEXUSFLOW_CONNECTIONS__{connection.upper()}__{key.upper()}"] = value
        return environment

    def _keep(self, name: str, server: Postgres | Broker | VendorServer) -> None:
        def again() -> None:
            server.launch(server.port)

        self.parts.append(Part(name, lambda: server.child, again))


class ConfiguredServers:
    """Servers that somebody else runs; the processes find them in the settings that they inherit."""

    modules: tuple[str, ...] = ()
    web_grace = WEB_GRACE

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.environment: dict[str, str] = {}
        self.owner_url = ""
        self.ports: dict[str, int] = {}

    def start(self, meanwhile: Callable[[], None]) -> None:
        """Nothing is to be started."""
        meanwhile()

    def busy(self) -> int | None:
        """Other machines work on the same rows: what this one is at cannot be told from them."""
        return None

    def stop(self) -> None:
        """Nothing was started."""
