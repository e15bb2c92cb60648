"""An embedded cluster as one thing: its servers, vendors and Procfile processes, started and stopped in order."""

import datetime
import os
from collections.abc import Callable
from functools import partial

import nexusflow
from nexusflow.embedded import celery_process
from nexusflow.embedded.broker import CACHE_DATABASE, Broker
from nexusflow.embedded.cluster_info import ClusterInfo
from nexusflow.embedded.forks import Forked
from nexusflow.embedded.home import Home, write_private
from nexusflow.embedded.parts import Part, end_leftovers, remember, stop_together
from nexusflow.embedded.postgres import Postgres
from nexusflow.embedded.procfile import arguments, processes
from nexusflow.embedded.schema import Schema, ensure_schema
from nexusflow.embedded.vendor_server import VendorServer
from nexusflow.settings import Settings

BUSY_GRACE, IDLE_GRACE = 6.0, 0.3


class Assembly:
    """The cluster of one home. Only the holder of the home's supervisor lock may make one."""

    def __init__(self, home: Home, report: Callable[[str], None]) -> None:
        self._home = home
        self._report = report
        self._servers: list[Postgres | Broker | VendorServer] = []
        self._parts: list[Part] = []
        self._workers: list[Forked] = []

    def start(self) -> ClusterInfo:
        """Start everything and write ``cluster.json``. Raises ClusterUnusable; then call ``stop``."""
        end_leftovers(self._home)
        postgres, broker, vendors = Postgres(self._home), Broker(self._home), VendorServer(self._home)
        self._report(f"starting PostgreSQL {postgres.version}, Valkey and the local vendors")
        for quick in (broker, vendors):
            self._servers.append(quick)
            quick.launch()
        if postgres.is_new:
            self._report(f"making a new database in {postgres.places.data}")
        postgres.prepare()
        self._servers.insert(0, postgres)
        postgres.launch()
        celery_process.preload()  # while the servers start
        postgres.wait_ready()
        schema = ensure_schema(postgres, self._home, self._report)
        broker.wait_ready()
        vendors.wait_ready()
        for name, server in (("postgres", postgres), ("valkey", broker), ("vendors", vendors)):
            self._keep(name, server)
        environment = self._environment(schema, postgres, broker, vendors)
        self._report("starting the workers and beat")
        self._start_workers(environment)
        info = ClusterInfo(
            home=str(self._home.path),
            version=nexusflow.__version__,
            started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            environment=environment,
            owner_database_url=postgres.url(),
            pids={"supervisor": os.getpid(), **{part.name: part.child().pid or 0 for part in self._parts}},
            ports={"postgres": postgres.port, "valkey": broker.port, **vendors.ports},
        )
        remember(self._home, self._parts)
        info.save()
        return info

    def tend(self) -> None:
        """Start again what ended by itself, and keep the logs short."""
        changed = [part for part in self._parts if part.tend()]
        if changed:
            remember(self._home, self._parts)
            write_private(self._home.health_file, {part.name: _health(part) for part in self._parts if part.deaths})
        for part in self._parts:
            part.child().bound_log()

    def stop(self) -> None:
        """Stop everything: workers first, PostgreSQL last."""
        self._home.cluster_file.unlink(missing_ok=True)
        if self._workers:
            stop_together(self._workers, BUSY_GRACE if self._is_busy() else IDLE_GRACE)
        for server in reversed(self._servers):
            server.stop()
        self._home.pids_file.unlink(missing_ok=True)

    def _environment(self, schema: Schema, postgres: Postgres, broker: Broker, vendors: VendorServer) -> dict[str, str]:
        secrets = self._home.secrets()
        settings = Settings()
        environment = {
            "NEXUSFLOW_HOME": str(self._home.path),
            "NEXUSFLOW_DATABASE_URL": postgres.url(schema.runtime_role, secrets.runtime_password),
            "NEXUSFLOW_CONTROL_DATABASE_URL": postgres.url(schema.control_role, secrets.control_password),
            "NEXUSFLOW_BROKER_URL": broker.url(),
            "NEXUSFLOW_REDIS_URL": broker.url(CACHE_DATABASE),
            "NEXUSFLOW_ALLOW_PRIVATE_ADDRESSES": settings.allow_private_addresses or "loopback",
        }
        for connection, values in vendors.connections().items():
            if connection not in settings.connections:  # real credentials go to the real vendor
                for key, value in values.items():
                    environment[f"NEXUSFLOW_CONNECTIONS__{connection.upper()}__{key.upper()}"] = value
        return environment

    def _is_busy(self) -> bool:
        """Whether a worker is at a segment right now. An idle one keeps nothing worth waiting for."""
        import psycopg  # noqa: PLC0415 - not before the servers start, for it takes a while

        postgres = next(server for server in self._servers if isinstance(server, Postgres))
        try:
            with psycopg.connect(postgres.url(), connect_timeout=2) as connection:
                busy = connection.execute("SELECT EXISTS (SELECT 1 FROM segments WHERE state = 'leased')").fetchone()
        except psycopg.Error:
            return False  # without a database nothing that ends now could be recorded
        return bool(busy and busy[0])

    def _keep(self, name: str, server: Postgres | Broker | VendorServer) -> None:
        def again() -> None:
            server.launch(server.port)

        self._parts.append(Part(name, lambda: server.child, again))

    def _start_workers(self, environment: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if name != "NEXUSFLOW_OWNER_DATABASE_URL"}
        for name, command in processes().items():
            worker = Forked(
                name,
                partial(celery_process.run, arguments(command)),
                log=self._home.logs / f"{name}.log",
                env={**inherited, **environment, "PYTHONUNBUFFERED": "1"},
                cwd=self._home.run,
            )
            self._workers.append(worker)
            self._parts.append(Part(name, lambda worker=worker: worker, worker.start))  # type: ignore[misc]
            worker.start()


def _health(part: Part) -> dict[str, object]:
    return {"deaths": part.deaths, "complaint": part.complaint, "hopeless": part.is_hopeless}
