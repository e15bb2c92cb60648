"""Clusters that are stopped, away or not to be had; what doctor says of them."""

import signal
import time
from pathlib import Path

import psutil
import psycopg

from nexusflow.embedded.cluster import find
from nexusflow.embedded.home import Home
from tests.acceptance.cli.conftest import WAIT_SECONDS, CommandLine
from tests.acceptance.cli.test_run import FAIL, SLOW
from tests.servers.databases import make_database
from tests.servers.postgres import PostgresServer

ONE = """\
nexusflow: "1"
name: one
steps: [{ id: only, type: transform, with: { input: 41, jq: . + 1 } }]
"""


def test_a_run_is_shown_after_everything_stopped(lonely: CommandLine) -> None:
    lonely.write("one.yaml", ONE)
    done = lonely("run", "one.yaml", "--json")
    assert (done.code, done.json["output"]) == (0, 42), done.err
    assert find(Home(lonely.home)) is None
    assert not _processes_of(lonely.home)
    shown = lonely("runs", "show", done.json["run_id"][:13])
    assert shown.code == 0, shown.err
    assert done.json["run_id"] in shown.out
    assert not _processes_of(lonely.home)
    diagnosis = lonely("doctor", "--json")
    assert diagnosis.code == 0
    assert diagnosis.json["usable"] is True


def test_a_killed_command_takes_the_cluster_with_it_and_the_run_is_kept(lonely: CommandLine) -> None:
    lonely.write("slow.yaml", SLOW)
    command = lonely.start("run", "slow.yaml")
    command.until_it_says("call retrying")
    command.signal(signal.SIGKILL)
    command.process.wait()
    _until_gone(lonely.home)
    run = command.said().partition("Run ")[2][:36]
    assert lonely("runs", "show", run, "--json").json["status"] == "running"


BREAK_WORKERS = """\
import os, sys
os.register_at_fork(after_in_child=lambda: sys.modules.__setitem__("celery.bin.worker", None))
"""


def test_workers_that_can_never_start_end_the_command_and_not_the_run(lonely: CommandLine) -> None:
    lonely.write("one.yaml", ONE)
    lonely.write("sitecustomize.py", BREAK_WORKERS)
    lonely.more["PYTHONPATH"] = str(lonely.folder)
    done = lonely("run", "one.yaml", "--json")
    assert done.code == 3, done.err
    error = done.json["error"]
    assert "cannot run, it ended 5 times" in error["message"]
    assert "celery.bin.worker" in error["message"], "its own complaint"
    assert f"The run {done.json['run_id']} is not lost" in error["hint"]
    assert lonely("runs", "show", done.json["run_id"], "--json").json["status"] == "queued"
    del lonely.more["PYTHONPATH"]
    assert lonely("run", "one.yaml").code == 0, "they can start now"


def test_ctrl_c_while_the_cluster_starts_leaves_nothing_behind(lonely: CommandLine) -> None:
    lonely.write("one.yaml", ONE)
    command = lonely.start("run", "one.yaml", "--json")
    command.until_it_says("Starting PostgreSQL")
    command.signal(signal.SIGINT)
    done = command.done()
    assert done.code == 130
    assert done.json["error"]["code"] == "INTERRUPTED"
    _until_gone(lonely.home)


def test_showing_where_nothing_ever_ran(lonely: CommandLine) -> None:
    done = lonely("runs", "show", "0199aaaa-0000-7000-8000-000000000000")
    assert done.code == 2
    assert "There is no cluster in" in done.err
    assert lonely("runs", "show", "nonsense").code == 2


def test_a_configured_database_that_is_not_there_is_unusable(lonely: CommandLine) -> None:
    lonely.write("one.yaml", ONE)
    closed = "postgresql://nexusflow_app:secret@127.0.0.1:9/nexusflow"
    lonely.more = {"NEXUSFLOW_DATABASE_URL": closed, "NEXUSFLOW_CONTROL_DATABASE_URL": closed}
    for arguments in (["run", "one.yaml"], ["runs", "show", "0199aaaa-0000"], ["doctor"]):
        done = lonely(*arguments)
        assert done.code == 3, arguments
        assert "PostgreSQL cannot be used" in done.out + done.err
        assert "secret" not in done.out + done.err
    document = lonely("run", "one.yaml", "--json").json
    assert (document["run_id"], document["error"]["code"]) == (None, "CLUSTER_UNUSABLE")


def test_a_database_without_the_schema_is_unusable(lonely: CommandLine, postgres: PostgresServer) -> None:
    lonely.write("one.yaml", ONE)
    bare = make_database(postgres)
    with psycopg.connect(bare.owner_url) as connection:
        connection.execute("DROP TABLE tenants CASCADE")
    lonely.more = bare.environment()
    done = lonely("run", "one.yaml")
    assert done.code == 3, done.err
    assert 'The database cannot serve this NexusFlow: relation "tenants" does not exist' in done.err
    postgres.drop_database(bare.name)


def test_a_role_with_power_is_refused(lonely: CommandLine, postgres: PostgresServer) -> None:
    lonely.write("one.yaml", ONE)
    powerful = make_database(postgres)
    owner = {"NEXUSFLOW_DATABASE_URL": powerful.owner_url, "NEXUSFLOW_CONTROL_DATABASE_URL": powerful.owner_url}
    lonely.more = owner
    done = lonely("run", "one.yaml")
    assert done.code == 3, done.err
    assert "row-level security would not hold" in done.err
    postgres.drop_database(powerful.name)


def test_a_home_that_cannot_be_a_folder_is_unusable(lonely: CommandLine) -> None:
    lonely.write("one.yaml", ONE)
    lonely.home = Path(lonely.folder / lonely.write("file", ""))
    for arguments in (["run", "one.yaml"], ["doctor"]):
        done = lonely(*arguments)
        assert done.code == 3
        assert "NEXUSFLOW_HOME" in done.out + done.err


def test_the_database_killed_in_the_middle_is_waited_for(nexusflow: CommandLine) -> None:
    nexusflow.write("slow.yaml", SLOW)
    command = nexusflow.start("run", "slow.yaml", "--json")
    command.until_it_says("call retrying")
    info = find(Home(nexusflow.home))
    assert info is not None
    psutil.Process(info.pids["postgres"]).kill()
    command.until_it_says("The database answers again.")
    command.signal(signal.SIGINT)
    done = command.done()
    assert (done.code, done.json["status"]) == (130, "cancelled"), done.err


def test_doctor_looks_at_the_cluster_that_runs(nexusflow: CommandLine) -> None:
    nexusflow.write("fail.yaml", FAIL)
    assert nexusflow("run", "fail.yaml").code == 1
    done = nexusflow("doctor", "--json")
    assert done.code == 0, done.out
    levels = {each["name"]: each["level"] for each in done.json["findings"]}
    for name in ("python", "home", "embedded cluster", "database", "schema", "dispatcher", "broker", "cache"):
        assert levels[name] in ("ok", "warn"), name
    assert "local" not in {each["message"] for each in done.json["findings"]}
    shown = nexusflow("doctor")
    assert "Workflows can run." in shown.out


def _processes_of(home: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        inside = str(home) in line or str(process.info["cwd"] or "").startswith(str(home))
        if inside and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid} {line}")
    return found


def _until_gone(home: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while _processes_of(home):
        assert time.monotonic() < deadline, _processes_of(home)
        time.sleep(0.1)
