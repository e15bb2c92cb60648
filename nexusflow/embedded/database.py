"""A home's database alone, for reading what is recorded after everything stopped."""

import contextlib
import time
from collections.abc import Iterator

import nexusflow
from nexusflow.db.provision import RUNTIME_ROLE
from nexusflow.embedded.cluster_info import ClusterInfo, find
from nexusflow.embedded.home import Home
from nexusflow.embedded.locks import FileLock
from nexusflow.embedded.postgres import Postgres
from nexusflow.errors import ClusterUnusable, NotFound
from nexusflow.settings import CONTROL_ROLE, Settings

WAIT_SECONDS = 60.0


@contextlib.contextmanager
def database_only(home: Home) -> Iterator[ClusterInfo]:
    """This home's database for reading what is recorded, without workers. Raises NotFound where there is none yet."""
    if not (home.path / "secrets.json").exists():
        raise NotFound(f"There is no cluster in {home.path} yet.", "Start one with nexusflow run FILE.")
    with FileLock(home.users_lock) as user, FileLock(home.supervisor_lock) as only:
        user.acquire(shared=True, wait=WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        while not only.acquire(shared=False, wait=0.2):
            info = find(home)
            if info is not None:
                yield info
                return
            if time.monotonic() > deadline:
                raise ClusterUnusable(f"The database in {home.path} is in use.", "Try again in a moment.")
        postgres = Postgres(home)
        if postgres.is_new:
            raise NotFound(f"There is no database in {home.path} yet.", "Start one with nexusflow run FILE.")
        with _served(home, postgres) as info:
            yield info


@contextlib.contextmanager
def new_database(home: Home) -> Iterator[ClusterInfo]:
    """A home's database alone, made if there is none, for a backup to be restored. Raises ClusterUnusable."""
    home.create()
    with FileLock(home.users_lock) as user, FileLock(home.supervisor_lock) as only:
        if not user.acquire(shared=True, wait=1) or not only.acquire(shared=False, wait=1):
            raise ClusterUnusable(
                f"The cluster in {home.path} runs.", "Stop it, or set NEXUSFLOW_HOME to a new folder."
            )
        postgres = Postgres(home)
        with _served(home, postgres) as info:
            postgres.create_database()
            yield info


@contextlib.contextmanager
def _served(home: Home, postgres: Postgres) -> Iterator[ClusterInfo]:
    secrets = home.secrets()
    try:
        postgres.prepare()
        postgres.launch()
        postgres.wait_ready()
        environment = {
            "NEXUSFLOW_HOME": str(home.path),
            **({} if Settings().storage_url else {"NEXUSFLOW_STORAGE_URL": home.storage_url}),
            "NEXUSFLOW_DATABASE_URL": postgres.url(RUNTIME_ROLE, secrets.runtime_password),
            "NEXUSFLOW_CONTROL_DATABASE_URL": postgres.url(CONTROL_ROLE, secrets.control_password),
        }
        ports = {"postgres": postgres.port}
        yield ClusterInfo(str(home.path), nexusflow.__version__, "", environment, postgres.url(), ports=ports)
    finally:
        postgres.stop()
