"""A private PostgreSQL: the machine's own, or the one that comes embedded."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.servers.programs import find_postgres
from tests.servers.server import HOST, Server, ServerDidNotStart

OWNER, PASSWORD = "owner", "owner-password"
_UNPRIVILEGED = 65534


class PostgresServer(Server):
    """PostgreSQL with passwords, and without fsync: only power cuts could tell."""

    name = "postgres"
    stop_signal = signal.SIGINT

    def __init__(self, programs: Path | None = None) -> None:
        super().__init__()
        found = programs or find_postgres()
        if found is None:
            raise ServerDidNotStart("PostgreSQL is not on this machine: make test installs it or says how.")
        self.programs = found
        if self.account is not None:
            os.chown(self.folder, self.account, self.account)

    @property
    def account(self) -> int | None:
        return _UNPRIVILEGED if os.geteuid() == 0 else None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = OWNER, password: str = PASSWORD) -> str:
        """The address of one database for one login role."""
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{database}"

    def launch(self) -> None:
        if not self.data.exists():
            self._init()
        super().launch()

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "on",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> str:
        """Make an empty database; its address for the owner."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def terminate_backends(self) -> int:
        """End every other session, as an administrator would; how many there were."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
        return int(ended[0]) if ended else 0

    def _init(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        made = subprocess.run(
            [
                *(str(self.programs / "initdb"), "-D", str(self.data), "-U", OWNER, "--no-sync"),
                *("-A", "scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=self.account,
            group=self.account,
            extra_groups=None if self.account is None else [],
        )
        if made.returncode != 0:
            raise ServerDidNotStart(f"initdb failed:\n{made.stderr}")
