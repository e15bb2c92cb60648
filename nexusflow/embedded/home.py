"""The home folder of an embedded cluster: where it is and what lies in it."""

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nexusflow.errors import ClusterUnusable

FOLDER = ".nexusflow"


@dataclass(frozen=True)
class Secrets:
    """The passwords of one home's servers, made once and kept in ``secrets.json`` (0600)."""

    cluster_id: str
    owner_password: str
    runtime_password: str
    control_password: str
    broker_password: str


@dataclass(frozen=True)
class Home:
    """The folder that holds an embedded cluster's data, logs, passwords and locks."""

    path: Path

    @property
    def logs(self) -> Path:
        """One ``<name>.log`` a process."""
        return self.path / "log"

    @property
    def run(self) -> Path:
        """The working directory of the cluster's processes."""
        return self.path / "run"

    @property
    def storage(self) -> Path:
        """Files and large values."""
        return self.path / "storage"

    @property
    def storage_url(self) -> str:
        """``storage`` as NEXUSFLOW_STORAGE_URL names it."""
        return self.storage.as_uri()

    @property
    def cluster_file(self) -> Path:
        """What runs, while it runs: process ids, addresses, environment."""
        return self.path / "cluster.json"

    @property
    def pids_file(self) -> Path:
        """The processes a supervisor started, to clean up after one that was killed."""
        return self.path / "pids.json"

    @property
    def progress_file(self) -> Path:
        """What a starting supervisor is doing, a line each."""
        return self.path / "progress"

    @property
    def failure_file(self) -> Path:
        """Why the last start failed."""
        return self.path / "failure.json"

    @property
    def health_file(self) -> Path:
        """Which processes ended by themselves since the start, how often, and what they said."""
        return self.path / "health.json"

    @property
    def users_lock(self) -> Path:
        """Held (shared) by everyone who uses the cluster."""
        return self.path / "users.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held (exclusively) by the one process that may start servers on this home's data."""
        return self.path / "supervisor.lock"

    @property
    def front_end_file(self) -> Path:
        """Where the front end that is asked for should listen."""
        return self.path / "front_end.json"

    @property
    def front_end_lock(self) -> Path:
        """Held (exclusively) by the one command that asks for the web front end."""
        return self.path / "front_end.lock"

    @property
    def key_file(self) -> Path:
        """The API key of ``nexusflow up``."""
        return self.path / "api_key.json"

    @property
    def on_servers(self) -> "Home":
        """The folder of the processes that this machine runs on servers of your own: no data, but logs and locks."""
        return Home(self.path / "servers")

    def create(self) -> None:
        """Make the folder and what belongs in it. Raises ClusterUnusable where that is not possible."""
        # As root PostgreSQL runs under another account, which must be able to pass through.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        with explained(self.path):
            if not self.path.is_dir():
                self.path.mkdir(parents=True)
                self.path.chmod(mode)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self.run.mkdir(mode=0o700, exist_ok=True)
            self.storage.mkdir(mode=0o700, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "not writable")

    def secrets(self) -> Secrets:
        """The passwords, made at the first call."""
        path = self.path / "secrets.json"
        with explained(path):
            if not path.exists():
                made = Secrets(secrets.token_hex(8), *(secrets.token_urlsafe(24) for _ in range(4)))
                write_private(path, asdict(made))
            try:
                return Secrets(**json.loads(path.read_text()))
            except (ValueError, TypeError) as wrong:
                raise ClusterUnusable(
                    f"{path} is damaged: {wrong}.", "Restore it, or remove the folder to start afresh."
                ) from None


def find_home(configured: Path | None, start: Path | None = None) -> Home:
    """The home to use: the configured one, else the nearest ``.nexusflow`` upward from ``start``, else one there."""
    if configured is not None:
        return Home(configured.expanduser().absolute())
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return Home(folder / FOLDER)
    return Home(here / FOLDER)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for the owner's eyes only, all or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def is_open_to_all(path: Path) -> bool:
    """Whether any account may pass through the folder ``path`` and every folder above it."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path.resolve(), *path.resolve().parents))


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses about ``path`` into one clear ClusterUnusable."""
    try:
        yield
    except OSError as refused:
        raise _as_unusable(refused, path) from None


def _as_unusable(refused: OSError, path: Path) -> ClusterUnusable:
    if refused.errno in (errno.ENOSPC, errno.EDQUOT):
        return ClusterUnusable(
            f"The disk that holds {path} is full.",
            "Free some space, or set NEXUSFLOW_HOME to a folder on another disk.",
        )
    if refused.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ClusterUnusable(
            f"{path} cannot be written: {refused.strerror}.",
            "Set NEXUSFLOW_HOME to a folder that you may write to.",
        )
    if refused.errno in (errno.ENOTDIR, errno.EEXIST):
        return ClusterUnusable(
            f"{path} cannot be a folder: a file is in the way.",
            "Move the file, or set NEXUSFLOW_HOME to another folder.",
        )
    return ClusterUnusable(
        f"{path} cannot be used: {refused.strerror or refused}.", "Set NEXUSFLOW_HOME to another folder."
    )
