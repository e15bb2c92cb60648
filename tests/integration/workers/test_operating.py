"""What an operator types: workers by queue, beat, Flower and ``inspect``, from any folder, on both kinds of broker."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexusflow.embedded.ports import free_port
from tests.integration.vendor import Vendor, running_vendor
from tests.integration.workers.operator import BIN, Operator
from tests.integration.workflows.steps import transform

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

SECRET = "hunter2-in-the-data"


@pytest.fixture
def slow_vendor() -> Iterator[Vendor]:
    """A vendor of a test's own: it answers the slow steps when it is released."""
    with running_vendor() as made:
        yield made


def flower(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return str(answer.read().decode())


def flower_answers(port: int) -> bool:
    try:
        return bool(json.loads(flower(port, "/api/workers")))
    except OSError:
        return False


def slow_run(operator: Operator, vendor: Vendor) -> str:
    """A run that waits for a retry, then stays in its last step for a while."""
    again = {"max": 2, "backoff": "constant", "initial": "50ms"}
    return operator.cluster.start(
        [
            transform("before", jq="1"),
            vendor.step("ask", "before", body={"fail": 1, "answer": SECRET}, retry=again),
            vendor.step("slow", "ask", body={"hang": True, "answer": SECRET}, timeout="60s"),
        ]
    )


def test_an_operators_commands_work_from_any_folder(
    make_operator: Callable[..., Operator], slow_vendor: Vendor
) -> None:
    operator, port = make_operator(), free_port()
    twin = operator.celery(
        "worker", "-Q", "integration,notification", "-n", "own@%h", "-P", "prefork", "-c", "2", "-l", "INFO"
    )
    integration = operator.worker("-Q", "integration", "-c", "8")
    operator.celery("beat")
    early = slow_run(operator, slow_vendor)
    operator.cluster.until(lambda: slow_vendor.keys(early)["slow"] == 1, "a slow step runs before Flower watches", 30)
    operator.celery("flower", f"--port={port}", name="flower", FLOWER_UNAUTHENTICATED_API="true")
    second = operator.worker("-Q", "integration", "-n", "integration@%h")
    operator.cluster.until(lambda: flower_answers(port), "Flower knows workers", 30)
    for each in (integration, twin):
        operator.cluster.until(lambda each=each: each.says("{task} enabled by remote"), "Flower watches", 30)
    operator.signal(second, 15)
    assert operator.ends(second) == 0
    run = slow_run(operator, slow_vendor)
    operator.cluster.until(lambda: slow_vendor.keys(run)["slow"] == 1, "the slow step runs")
    with ThreadPoolExecutor() as together:
        asked = together.submit(operator.asks, "inspect", "active", "--json")
        shown = operator.nexusflow("workers")
        active = asked.result()
    slow_vendor.release()
    operator.cluster.finish(run)
    operator.cluster.finish(early)

    named = {each["name"].partition("@")[0]: each for each in shown["workers"]}
    kinds = {name: (each["queues"], each["pool"], each["slots"]) for name, each in named.items()}
    assert kinds["integration"] == (["integration"], "threads", 8)
    assert kinds["own"] == (["integration", "notification"], "prefork", 2)
    assert "beat" in named
    assert integration.says("integration@")
    assert second.says("integration-2@"), "one name is one worker's, whoever chose it"
    assert second.says("concurrency: 32 (thread)")
    assert twin.says("own@")
    assert not integration.says("native delayed delivery"), "Celery's queues for delays are not made"
    running = {task["run"]: task for each in shown["workers"] for task in each["running"]}
    assert set(running) == {early, run}
    assert (running[run]["tenant"], running[run]["step"]) == ("tenant-a", "before → ask → slow")
    assert running[run]["since"]

    (task,) = [task for tasks in json.loads(active).values() for task in tasks if task["args"]["run"] == run]
    assert task["name"] == "tasks.integration.run_segment"
    assert task["args"] == {"tenant": "tenant-a", "run": run, "step": "before → ask → slow"}

    operator.cluster.until(
        lambda: all(f"run='{each}'" in flower(port, "/api/tasks") for each in (early, run)), "Flower saw both end"
    )
    operator.cluster.until(lambda: '"STARTED"' not in flower(port, "/api/tasks"), "nothing runs")
    seen = flower(port, "/api/tasks")
    tasks: list[dict[str, Any]] = list(json.loads(seen).values())
    assert {(task["state"], task["name"]) for task in tasks} == {("SUCCESS", "tasks.integration.run_segment")}
    shows = "(tenant='tenant-a', run='{}', step='before → ask → slow')"
    assert {task["args"] for task in tasks} == {shows.format(each) for each in (early, run)}
    assert SECRET not in seen + active
    assert 'data-column="args"' in flower(port, "/tasks")


def test_a_worker_tries_its_broker_every_second(make_operator: Callable[..., Operator]) -> None:
    operator = make_operator(broker=f"redis://127.0.0.1:{free_port()}/0")
    worker = operator.celery("worker", "-Q", "integration", "-l", "INFO")
    operator.cluster.until(lambda: worker.says("(4/None)"), "it tried four times", 20)
    assert set(re.findall(r"Trying again in (\S+) sec", worker.log.read_text())) == {"1.00"}
    operator.signal(worker, signal.SIGTERM)
    assert operator.ends(worker) == 0


def test_what_cannot_work_ends_with_one_clear_message(tmp_path: Path) -> None:
    somewhere = {
        "NEXUSFLOW_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c",
        "NEXUSFLOW_BROKER_URL": "redis://127.0.0.1:1",
    }
    cases: list[tuple[list[str], dict[str, str], str]] = [
        (["worker", "-Q", "integration"], {}, "NEXUSFLOW_DATABASE_URL and NEXUSFLOW_BROKER_URL not set."),
        (["beat"], {"NEXUSFLOW_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c"}, "NEXUSFLOW_BROKER_URL not set."),
        (["worker", "-Q", "integraton"], somewhere, "there is no queue 'integraton', only workflow, "),
    ]
    started = [
        subprocess.Popen(
            [str(BIN / "celery"), "-A", "nexusflow", *arguments],
            env={"PATH": os.defpath, **settings},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments, settings, _ in cases
    ]
    for process, (_, _, told) in zip(started, cases, strict=True):
        said, _ = process.communicate(timeout=30)
        assert process.returncode in (1, 2), said
        assert told in said
        assert "Traceback" not in said


def test_workers_on_valkey_are_seen_and_asked(
    make_operator: Callable[..., Operator], valkey: "RedisServer", slow_vendor: Vendor
) -> None:
    valkey.flush()
    operator = make_operator(broker=valkey.url)
    operator.worker("-P", "threads", "-c", "4")
    operator.cluster.beat()
    run = slow_run(operator, slow_vendor)
    operator.cluster.until(lambda: slow_vendor.keys(run)["slow"] == 1, "the slow step runs")
    with ThreadPoolExecutor() as together:
        active = together.submit(operator.asks, "inspect", "active")
        queues = {each["name"]: each for each in operator.nexusflow("queues")["queues"]}
        assert run in active.result()
    assert (queues["integration"]["leased"], queues["integration"]["workers"]) == (1, 1)
    assert queues["integration"]["dead_letters"] is None
    assert operator.nexusflow("queues", "dead", "list", "integration")["has_dead_letters"] is False
    slow_vendor.release()
    operator.cluster.finish(run)
