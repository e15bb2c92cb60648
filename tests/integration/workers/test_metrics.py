"""Metrics: what the rows, the processes and the broker say, as Prometheus gets it."""

from datetime import UTC, datetime

from nexusflow.operations.metrics import render
from nexusflow.workers.processes import read_processes
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import transform


def test_the_processes_count_what_they_did(cluster: Cluster, vendor: Vendor) -> None:
    """Counters of the workers' rows, as Prometheus gets them: exactly as much more as one run did."""

    def counted() -> dict[str, float]:
        with cluster.active():
            text = render()[0].decode()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    worker = 'nexusflow_{}{{process="worker@test",{}}}'
    names = {
        "runs": worker.format("runs_finished_total", 'status="succeeded"'),
        "failed": worker.format("runs_finished_total", 'status="failed"'),
        "steps": worker.format("steps_finished_total", 'state="succeeded"'),
        "retrying": worker.format("steps_finished_total", 'state="retrying"'),
    }

    def said() -> bool:
        with cluster.active():
            return all(each.seen_at > asked for each in read_processes())

    # All that other tests did is counted once the worker has spoken again.
    asked = datetime.now(UTC)
    cluster.until(said, "a heartbeat")
    before = counted()
    again = {"max": 1, "backoff": "constant", "initial": "10ms"}
    assert cluster.run([transform("a", jq="1"), vendor.step("b", "a", body={"fail": 1}, retry=again)]).output
    assert cluster.run([vendor.step("c", body={"status": 422})]).status == "failed"
    wanted = {"runs": 1, "failed": 1, "steps": 2, "retrying": 1}

    def grown() -> dict[str, float]:
        now = counted()
        return {key: now.get(name, 0) - before.get(name, 0) for key, name in names.items()}

    cluster.until(lambda: grown() == wanted, f"{wanted} more", 12)
    now = counted()
    assert now["nexusflow_database_up"] == now["nexusflow_broker_up"] == 1
    assert now['nexusflow_processes{kind="worker",state="running"}'] == 1
    assert now['nexusflow_dispatch_sweeps_total{process="' + _beat(now) + '"}'] > 0
    assert now['nexusflow_queue_segments{queue="workflow",state="leased"}'] >= 0
    assert "tenant" not in "".join(now)


def _beat(names: dict[str, float]) -> str:
    name = next(each for each in names if each.startswith("nexusflow_dispatch_sweeps_total"))
    return name.split('"')[1]
