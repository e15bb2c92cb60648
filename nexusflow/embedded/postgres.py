"""A private PostgreSQL of the embedded cluster: made from a wheel's programs, run as our own child process."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from nexusflow.embedded.children import Child
from nexusflow.embedded.home import Home, explained
from nexusflow.embedded.places import Places, find_places
from nexusflow.embedded.ports import HOST, free_port
from nexusflow.errors import ClusterUnusable

OWNER = "nexusflow_owner"
DATABASE = "nexusflow"
RETRY_SECONDS = 10.0
START_SECONDS = 60.0  # a crash recovery may have to read a lot
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "150",
    "io_method": "sync",
    "jit": "off",
    "huge_pages": "off",
    "max_wal_size": "256MB",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
if sys.platform == "linux":
    SETTINGS["recovery_init_sync_method"] = "syncfs"  # one call instead of an fsync a file: 0.3 s for 5 s after a kill
_PASSING = ("Address already in use", "pre-existing shared memory", "lock file", "could not create any TCP/IP")


class Postgres:
    """The home's PostgreSQL server."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._password = home.secrets().owner_password
        self._child: Child | None = None
        self.places: Places = find_places(home)
        self.port = 0

    @property
    def version(self) -> str:
        """PostgreSQL's version, such as 18.6."""
        return ".".join(self.places.version.split(".")[:2])

    @property
    def child(self) -> Child:
        """The server's process."""
        if self._child is None:
            raise RuntimeError("PostgreSQL was not started yet")
        return self._child

    @property
    def is_new(self) -> bool:
        """Whether there is no data yet."""
        return not (self.places.data / "PG_VERSION").exists()

    def url(self, user: str = OWNER, password: str | None = None, database: str = DATABASE) -> str:
        """The address for a login role; by default for the owner."""
        return f"postgresql://{user}:{password or self._password}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the data folder if there is none. Raises ClusterUnusable."""
        data, draft = self.places.data, self.places.data.with_name("postgres.new")
        if not self.is_new:
            self._check_version()
            return
        # Built aside and renamed, so that a killed start leaves nothing that looks like a database.
        shutil.rmtree(draft, ignore_errors=True)
        secret = data.with_name("owner.password")
        with explained(secret):
            secret.unlink(missing_ok=True)
            secret.touch(mode=0o600)
            secret.write_text(self._password)
            if self.places.account is not None:
                os.chown(secret, self.places.account, self.places.account)
        made = subprocess.run(  # noqa: S603 - our own program
            [
                *(str(self.places.programs / "initdb"), "-D", str(draft), "-U", OWNER),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-locale"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=self.places.account,
            group=self.places.account,
            extra_groups=None if self.places.account is None else [],
        )
        secret.unlink(missing_ok=True)
        if made.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)
            raise _why_not("PostgreSQL's data folder could not be made", made.stderr or made.stdout, data)
        with explained(data):
            draft.rename(data)

    def launch(self, port: int | None = None) -> None:
        """Start the server process without waiting for it, on ``port`` or a free one."""
        self.port = port or free_port()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._child = Child(
            "postgres",
            [str(self.places.programs / "postgres"), "-D", str(self.places.data), "-p", str(self.port), *options],
            log=self._home.logs / "postgres.log",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=Path("/"),
            account=self.places.account,
            stop_signal=signal.SIGINT,  # "fast": end sessions, write a checkpoint
            death_signal=signal.SIGINT,
        )
        self._child.start()

    def wait_ready(self) -> None:
        """Wait until the server answers, retrying while a predecessor is not quite gone. Raises ClusterUnusable."""
        began = time.monotonic()
        while not self._is_ready():
            if not self.child.is_alive:
                complaint = self.child.complaint()
                passing = any(sign in complaint for sign in _PASSING)
                if not passing or time.monotonic() > began + RETRY_SECONDS:
                    raise _why_not("PostgreSQL did not start", complaint, self.places.data)
                time.sleep(0.3)
                self.launch()
            elif time.monotonic() > began + START_SECONDS:
                self.child.kill()
                raise _why_not(f"PostgreSQL did not start within {START_SECONDS:.0f} s", "", self.places.data)
            time.sleep(0.02)

    def create_database(self) -> None:
        """Create NexusFlow's database unless it is there."""
        import psycopg  # noqa: PLC0415 - not before the server starts, for it takes a while

        with psycopg.connect(self.url(database="postgres"), autocommit=True, connect_timeout=10) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def stop(self, grace: float = 10.0) -> None:
        """End the server in order; by force after ``grace`` seconds."""
        if self._child is not None:
            self._child.stop(grace)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            lines = (self.places.data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and int(lines[0]) == self.child.pid and lines[7].strip() == "ready"
        return False

    def _check_version(self) -> None:
        theirs = (self.places.data / "PG_VERSION").read_text().strip()
        ours = self.version.split(".")[0]
        if theirs != ours:
            raise ClusterUnusable(
                f"{self.places.data} was made by PostgreSQL {theirs}; this NexusFlow brings PostgreSQL {ours}.",
                "Use the NexusFlow that made it, or set NEXUSFLOW_HOME to a new folder.",
            )


def _why_not(what: str, output: str, data: Path) -> ClusterUnusable:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error" in line.lower() or "could not" in line] or lines
    why = telling[-1].split("FATAL:")[-1].strip() if telling else "it gave no reason"
    if "No space left" in output:
        return ClusterUnusable(
            f"{what}: the disk that holds {data} is full.",
            "Free some space, or set NEXUSFLOW_HOME to a folder on another disk.",
        )
    return ClusterUnusable(f"{what}: {why}.".replace("..", "."), "Look into postgres.log in the home's log folder.")
