"""The embedded cluster's life: started by its first user, shared, restarted in parts, gone with its last user."""

import os
import signal
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]
import psycopg
import redis

from nexusflow.embedded.cluster import find
from nexusflow.embedded.database import database_only
from nexusflow.embedded.home import Home
from nexusflow.embedded.postgres import Postgres
from nexusflow.embedded.schema import NOTE
from tests.integration.embedded.conftest import Holder, processes_of, until
from tests.servers.server import accepts

Hold = Callable[[], Holder]
SERVERS = ("postgres", "valkey", "vendors")


def test_start_join_and_stop(home: Home, hold: Hold) -> None:
    first = hold()
    started = first.info()
    assert started["fresh"]
    second = hold()
    joined = second.info()
    assert not joined["fresh"]
    assert joined["pids"]["supervisor"] == started["pids"]["supervisor"]
    assert joined["environment"] == started["environment"]
    assert "NEXUSFLOW_OWNER_DATABASE_URL" not in started["environment"]
    _use(started)
    assert first.leave() == 0
    assert find(home) is not None, "the second still uses it"
    _use(started)
    assert second.leave() == 0
    assert find(home) is None
    assert not processes_of(home), "the last one to leave waits until everything has stopped"


def test_secrets_are_for_the_owner_alone(home: Home, hold: Hold) -> None:
    hold().info()
    for path in (home.cluster_file, home.path / "secrets.json", home.supervisor_lock):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (home.path / ".gitignore").read_text() == "*\n"
    secrets = home.secrets()
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        assert secrets.broker_password not in line
        assert secrets.owner_password not in line


def test_killing_the_only_user_stops_everything(home: Home, hold: Hold) -> None:
    user = hold()
    user.info()
    user.process.kill()
    until(lambda: not processes_of(home), "everything stops")
    assert not home.cluster_file.exists()


def test_killing_the_supervisor_leaves_nothing_and_loses_nothing(home: Home, hold: Hold) -> None:
    before = hold().info()
    with psycopg.connect(before["owner_database_url"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    children = [psutil.Process(pid) for name, pid in before["pids"].items() if name in SERVERS]
    os.kill(before["pids"]["supervisor"], signal.SIGKILL)
    until(lambda: all(_has_ended(child) for child in children), "its children die with it")
    until(lambda: not processes_of(home), "nothing is left")
    after = hold().info()
    assert after["fresh"]
    assert after["pids"]["supervisor"] != before["pids"]["supervisor"]
    with psycopg.connect(after["owner_database_url"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_killing_everything_at_once_loses_nothing(home: Home, hold: Hold) -> None:
    before = hold().info()
    with psycopg.connect(before["owner_database_url"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for pid in before["pids"].values():
        os.kill(pid, signal.SIGKILL)
    after = hold().info()
    with psycopg.connect(after["owner_database_url"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_two_starts_at_once_share_one_cluster(home: Home, hold: Hold) -> None:
    told = [holder.info() for holder in [hold(), hold(), hold()]]
    assert len({each["pids"]["supervisor"] for each in told}) == 1
    assert sum(each["fresh"] for each in told) == 1


def test_a_server_that_dies_comes_back_at_its_address(home: Home, hold: Hold) -> None:
    info = hold().info()
    for name in SERVERS:
        os.kill(info["pids"][name], signal.SIGKILL)
    until(lambda: _usable(info), "all servers are back")
    until(lambda: accepts(info["ports"]["http"]), "the vendors are back")


def test_a_start_right_after_a_stop(home: Home, hold: Hold) -> None:
    first = hold()
    first.info()
    assert first.process.stdin is not None
    first.process.stdin.close()
    second = hold().info()
    _use(second)


def test_the_database_alone(home: Home, hold: Hold) -> None:
    holder = hold()
    info = holder.info()
    with database_only(home) as shared:
        assert shared.owner_database_url == info["owner_database_url"]
    holder.leave()
    with database_only(home) as alone:
        with psycopg.connect(alone.database_url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("nexusflow_app",)
        assert not [line for line in processes_of(home) if "celery" in line or "valkey" in line]
    assert not processes_of(home)


def test_the_schema_is_looked_at_again_when_the_migrations_changed(home: Home, hold: Hold) -> None:
    first = hold()
    owner = first.info()["owner_database_url"]
    note = Postgres(home).places.data / NOTE
    current = note.read_text()
    with psycopg.connect(owner) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    first.leave()
    note.write_text(current.replace('"migrations": "', '"migrations": "older'))
    _use(hold().info())
    assert note.read_text() == current


def test_postgres_does_not_run_as_root(home: Home, hold: Hold) -> None:
    info = hold().info()
    assert psutil.Process(info["pids"]["postgres"]).uids().effective == (os.geteuid() or 65534)


def test_logs_are_bounded(home: Home, hold: Hold) -> None:
    hold().info()
    log = home.logs / "valkey.log"
    with log.open("ab") as file:
        file.write(b"x" * 5_000_000)
    until(lambda: log.stat().st_size < 100_000, "the log is cut")
    assert (home.logs / "valkey.log.1").stat().st_size >= 5_000_000


def _use(info: dict[str, object]) -> None:
    assert _usable(info)


def _usable(info: dict[str, object]) -> bool:
    environment = info["environment"]
    assert isinstance(environment, dict)
    try:
        with psycopg.connect(environment["NEXUSFLOW_DATABASE_URL"], connect_timeout=2) as connection:
            connection.execute("SELECT count(*) FROM runs")
        with redis.Redis.from_url(environment["NEXUSFLOW_BROKER_URL"]) as client:
            client.ping()
    except (psycopg.OperationalError, redis.RedisError):
        return False
    return True


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
