"""``nexusflow runs list``, ``cancel`` and ``watch``."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.shapes import RunView, StepView
from nexusflow.workflows.saved import library
from nexusflow.workflows.starts.starting import start_runs
from tests.integration.workflows.definitions import source
from tests.servers.databases import Database
from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]
PROGRAM = Path(sys.executable).with_name("nexusflow")


@pytest.fixture
def runs(nexusflow: Nexusflow, database: Database, request: pytest.FixtureRequest) -> list[str]:
    """Three new runs of a workflow named like the test."""
    name = request.node.name.replace("_", "-")[:60].partition("[")[0]
    workflow = library.create_workflow(str(database.tenant_a), source(name)).id
    return [start_runs(str(database.tenant_a), workflow, [{"token": "sesame"}]).run_ids[0] for _ in range(3)]


def end(database: Database, run: str, status: str) -> None:
    error = '{"code": "BROKEN", "message": "it broke at sesame", "cause": "user"}' if status == "failed" else None
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(
            "UPDATE runs SET status = %s, error = %s, cause = %s, finished_at = now() WHERE id = %s",
            (status, error, "user" if error else None, run),
        )


def test_a_list_of_runs(nexusflow: Nexusflow, database: Database, runs: list[str]) -> None:
    end(database, runs[1], "failed")
    ours = ("--workflow", "test-a-list-of-runs")
    listed = nexusflow("runs", "list", *ours)
    assert [line.split()[2] for line in listed.out.splitlines()[1:]] == runs[::-1]
    assert "it broke at *** [BROKEN]" in listed.out
    failed = nexusflow("runs", "list", *ours, "--status", "failed,timed_out", "--json").json
    assert [each["id"] for each in failed] == [runs[1]]
    assert failed[0]["error_message"] == "it broke at ***"
    assert "sesame" not in listed.out
    for filters, count in (
        (("--cause", "user"), 1),
        (("--since", "1h", "--trigger", "api"), 3),
        (("--until", "1h"), 0),
        (("--until", "2020-01-01"), 0),
        (("--since", "2020-01-01T08:00:00+02:00", "--text", "broken"), 1),
        (("-s", "queued", "-s", "running", "-n", "1"), 1),
    ):
        assert len(nexusflow("runs", "list", *ours, *filters, "--json").json) == count, filters
    assert "1 of 3: --limit" in nexusflow("runs", "list", *ours, "-n", "1").err


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--since", "soon"), ("--status", "gone"), ("--workflow", "gone"), ("--cause", "x"), ("--sort", "x")],
)
def test_a_list_that_cannot_be_made(nexusflow: Nexusflow, flag: str, value: str) -> None:
    refused = nexusflow("runs", "list", flag, value)
    assert (refused.code, refused.out) == (2, "")
    assert value in refused.err


def test_cancelling_some_runs(nexusflow: Nexusflow, database: Database, runs: list[str]) -> None:
    end(database, runs[2], "succeeded")
    refused = nexusflow("runs", "cancel", runs[0], "0199aaaa-0000-7000-8000-0000000000ff")
    assert refused.code == 2, "none is cancelled unless all of them are there"
    assert nexusflow("runs", "list", "-t", runs[0], "--json").json[0]["ending"] is None
    said = nexusflow("runs", "cancel", runs[0], runs[2])
    assert said.code == 0
    assert f"Run {runs[0]} is being cancelled" in said.err
    assert f"Run {runs[2]} is over already: succeeded." in said.err
    document = nexusflow("runs", "cancel", *runs, runs[0], "--json").json
    assert [(each["id"], each["was_over"]) for each in document] == [
        (runs[0], False),
        (runs[1], False),
        (runs[2], True),
    ]
    assert nexusflow("runs", "list", "-t", runs[0], "--json").json[0]["ending"] == "cancelled"


def test_pausing_and_resuming_some_runs(nexusflow: Nexusflow, database: Database, runs: list[str]) -> None:
    end(database, runs[2], "failed")
    said = nexusflow("runs", "pause", runs[0], runs[2])
    assert said.code == 0
    assert f"Run {runs[0]} is paused" in said.err
    assert f"Run {runs[2]} is over already: failed." in said.err
    assert [each["id"] for each in nexusflow("runs", "list", "-s", "paused", "--json").json] == [runs[0]]
    assert "paused" in nexusflow("runs", "show", runs[0]).out
    assert nexusflow("runs", "resume", runs[0], "--json").json == [
        {"id": runs[0], "status": "queued", "was_over": False}
    ]
    assert f"Run {runs[1]} goes on: queued." in nexusflow("runs", "resume", runs[1]).err
    assert nexusflow("runs", "pause", "gone").code == 2


def test_watching_a_run_to_its_end(nexusflow: Nexusflow, database: Database, runs: list[str]) -> None:
    later = threading.Timer(0.5, end, (database, runs[0], "succeeded"))
    later.start()
    watched = nexusflow("runs", "watch", runs[0], "--json")
    later.join()
    assert (watched.code, watched.json["status"]) == (0, "succeeded")
    shown = nexusflow("runs", "show", runs[0], "--json").json
    assert set(RunView.model_fields) <= set(shown), "all that the API gives of a run"
    assert set(StepView.model_fields) == set(shown["steps"][0]) == set(watched.json["steps"][0])
    assert f"Run {runs[0]} of test-watching-a-run-to-its-end, version 1." in watched.err
    end(database, runs[1], "failed")
    again = nexusflow("runs", "watch", runs[1])
    assert again.code == 1
    assert "it broke at ***" in again.err


@pytest.fixture
def watching(database: Database, tmp_path: Path) -> Any:
    """Start ``runs watch`` as a process of its own."""
    environment = {**os.environ, **database.environment(), "NEXUSFLOW_TENANT": "tenant-a"}
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(PROGRAM), "runs", "watch", *arguments],
            env=environment,
            cwd=tmp_path,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_watching_all_runs(
    nexusflow: Nexusflow, database: Database, runs: list[str], watching: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = watching("--json", "--workflow", "test-watching-all-runs")
    plain = watching("--workflow", "test-watching-all-runs")
    assert process.stdout is not None
    assert plain.stdout is not None
    first = [json.loads(process.stdout.readline()) for _ in runs]
    assert [(each["id"], each["status"]) for each in first] == [(run, "queued") for run in runs]
    assert all(run in plain.stdout.readline() for run in runs), "both have begun before anything happens"
    end(database, runs[1], "failed")
    changed = json.loads(process.stdout.readline())
    assert (changed["id"], changed["status"], changed["error_message"]) == (runs[1], "failed", "it broke at ***")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 0
    assert f"{runs[1]} test-watching-all-runs failed in " in plain.stdout.readline()
    plain.stdout.close()
    end(database, runs[2], "succeeded")
    assert plain.wait(20) == 0, "its reader is gone"


def test_watching_one_run_stops_without_stopping_the_run(
    nexusflow: Nexusflow, runs: list[str], watching: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = watching(runs[0])
    assert process.stderr is not None
    assert runs[0] in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "the run goes on" in said
    assert nexusflow("runs", "list", "-t", runs[0], "--json").json[0]["ending"] is None


def test_cancelling_runs_by_a_filter(nexusflow: Nexusflow, runs: list[str]) -> None:
    ours = ("--workflow", "test-cancelling-runs-by-a-filter")
    assert nexusflow("runs", "cancel").code == 2, "nothing says which"
    assert nexusflow("runs", "cancel", runs[0], *ours).code == 2, "ids and a filter"
    told = nexusflow("runs", "cancel", *ours, "--dry-run")
    assert (told.code, all(run in told.out for run in runs), "3 runs would be" in told.err) == (0, True, True)
    unsure = nexusflow("runs", "cancel", *ours)
    assert (unsure.code, "--yes" in unsure.err) == (2, True)
    assert nexusflow("runs", "list", *ours, "--json").json[0]["ending"] is None
    done = nexusflow("runs", "cancel", *ours, "--yes", "--json").json
    assert (done["matched"], done["done"]) == (3, 3)


def test_repeating_runs(nexusflow: Nexusflow, database: Database, runs: list[str]) -> None:
    refused = nexusflow("runs", "rerun", runs[0])
    assert (refused.code, "only one that is over" in refused.err) == (2, True)
    for run in runs:
        end(database, run, "failed")
    told = nexusflow("runs", "rerun", runs[0], "--from", "start", "--dry-run")
    assert (told.code, "done: one" in told.out, "Nothing is done outside" in told.out) == (0, True, True)
    made = nexusflow("runs", "rerun", runs[0], "--input", "n=9", "--json").json
    assert [(each["rerun_of"], each["from"], each["version"]) for each in made] == [(runs[0], "start", 1)]
    shown = nexusflow("runs", "show", made[0]["id"], "--json").json
    assert shown["input"] == {"n": 9, "token": "***"}
    assert (shown["rerun_of"], shown["trigger"]) == (runs[0], "rerun")
    assert f"Repeats run {runs[0]} from start" in nexusflow("runs", "show", made[0]["id"]).out
    assert f"Repeated by run {made[0]['id']}" in nexusflow("runs", "show", runs[0]).out
    ours = ("--workflow", "test-repeating-runs")
    many = nexusflow("runs", "rerun", *ours, "--yes", "--json").json
    assert (many["matched"], many["done"], many["refused"]) == (3, 2, 1)
    said = nexusflow("runs", "rerun", *ours, "--yes")
    assert (said.code, said.err.count("repeats it already")) == (0, 3)
    for flags in (("--version", "x"), ("--from", "two"), ("--input", "n=x")):
        assert nexusflow("runs", "rerun", runs[1], *flags).code == 2, flags


def test_exporting_a_run_as_a_test(nexusflow: Nexusflow, database: Database, runs: list[str]) -> None:
    refused = nexusflow("runs", "export", runs[0])
    assert refused.code == 2
    assert f"Run {runs[0]} is not over: it is queued." in refused.err
    end(database, runs[0], "failed")
    shown = nexusflow("runs", "export", runs[0])
    assert shown.out.startswith(f"# Run {runs[0]} of test-exporting-a-run-as-a-test, version 1: failed on ")
    assert "sesame" not in shown.out
    wrote = nexusflow("runs", "export", runs[0], "--output", "bug.test.yaml")
    assert (wrote.code, Path("bug.test.yaml").read_text()) == (0, shown.out)
    assert "Wrote bug.test.yaml." in wrote.out
    assert nexusflow("test", "bug.test.yaml").code == 0
    again = nexusflow("runs", "export", runs[0], "-o", "bug.test.yaml")
    assert (again.code, "bug.test.yaml is there already." in again.err) == (2, True)
    document = nexusflow("runs", "export", runs[0], "--workflow", "mine.yaml", "--json").json
    assert set(document) == {"run_id", "file", "source", "notes"}
    assert "workflow: mine.yaml\n" in document["source"]
