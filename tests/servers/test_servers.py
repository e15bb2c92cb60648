"""The tests' private servers: they serve, come back with their data, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import amqp  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.servers.databases import Database
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.server import HOST, accepts

STANDARD_PORTS = {5432, 5672, 6379, 4369, 25672}


def test_postgres_keeps_its_data_over_a_kill(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    port = postgres.port
    postgres.kill()
    assert not accepts(port)
    postgres.start()
    assert postgres.port == port
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url_of("postgres", password="wrong"))


def test_rabbitmq_keeps_durable_messages_over_a_kill(rabbitmq: RabbitMQServer) -> None:
    address = f"{HOST}:{rabbitmq.port}"
    with amqp.Connection(address, confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.basic_publish(amqp.Message("hello", delivery_mode=2), routing_key="kept")
    time.sleep(2)  # RabbitMQ writes a new queue's own registration to disk a moment later
    rabbitmq.kill()
    assert not accepts(rabbitmq.port)
    rabbitmq.start()
    with amqp.Connection(address) as connection:
        message = connection.channel().basic_get("kept", no_ack=True)
        assert message is not None
        assert message.body in ("hello", b"hello")
    assert rabbitmq.node in rabbitmq.control("cluster_status")


def test_redis_and_valkey_answer_and_keep_nothing(redis: RedisServer, valkey: RedisServer) -> None:
    for server in (redis, valkey):
        with server.client() as client:
            client.set("key", "value")
        server.stop()
        server.start()
        with server.client() as client:
            assert client.get("key") is None


def test_nothing_uses_a_standard_port(
    postgres: PostgresServer, rabbitmq: RabbitMQServer, redis: RedisServer, valkey: RedisServer
) -> None:
    used = {postgres.port, rabbitmq.port, rabbitmq.dist_port, rabbitmq.mapper.port, redis.port, valkey.port}
    assert len(used) == 6
    assert not used & STANDARD_PORTS


def test_a_database_has_its_roles_and_two_tenants(database: Database) -> None:
    with psycopg.connect(database.owner_url) as connection:
        tenants = {row[0] for row in connection.execute("SELECT id FROM tenants")}
        assert {database.tenant_a, database.tenant_b} <= tenants
    with psycopg.connect(database.runtime_url) as connection:
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (0,)
    with psycopg.connect(database.control_url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("nexusflow_control",)


def test_a_killed_test_run_leaves_no_server_and_no_folder(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from tests.servers.redis import RedisServer\n"
        "server = RedisServer(); server.start()\n"
        "print(server.process.pid, server.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as run:
        assert run.stdout is not None
        pid, folder = run.stdout.readline().split()
        assert Path(folder).is_dir()
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (Path(folder).exists() or _runs(int(pid))):
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not _runs(int(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
