"""The example, judged by what its vendors saw: alone, and with its worker killed half-way, on both brokers."""

import contextlib
import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.embedded.cluster import running
from nexusflow.embedded.cluster_info import ClusterInfo
from nexusflow.embedded.home import Home
from nexusflow.embedded.vendors import connections_for
from nexusflow.errors import ClusterUnusable
from nexusflow.queues import QUEUES
from nexusflow.settings import use_settings
from nexusflow.workflows.rows import files
from nexusflow.workflows.starts import service
from tests.integration.cluster import Cluster
from tests.integration.connectors.conftest import run_vendors
from tests.servers.databases import make_database
from tests.servers.guardian import guardian
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer

ROOT = Path(__file__).parents[2]
VALID, REJECTED = 257, 43
# What examples/make_leads.py puts into the list on purpose.
REASONS = {
    "no e-mail address": 12,
    "repeats line": 14,
    "cells where the header has": 5,
    "company: is empty": 6,
    "employees: ": 4,
    "NUL": 1,
    "closing quote": 1,
}
WAIT_SECONDS = 90.0


class Vendors:
    """What the vendors saw: the oracle outside the engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """The calls of one kind, in order."""
        log = self.folder / "calls.jsonl"
        text = log.read_text() if log.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last one may be in the middle of being written
        return [call for call in map(json.loads, lines) if call["operation"] == operation]

    def keys(self, operation: str, subject: str) -> dict[str, set[str]]:
        """Each subject's idempotency keys."""
        found: dict[str, set[str]] = defaultdict(set)
        for call in self.calls(operation):
            found[call[subject]].add(call["idempotency_key"])
        return found


@pytest.fixture
def cluster() -> Iterator[ClusterInfo]:
    home = Home(guardian.folder("leads") / "home")
    with running(home, lambda line: None) as info:
        use_settings(info.settings())
        yield info
        use_settings(None)


def start_example(tenant: str) -> str:
    version = service.save_version(tenant, (ROOT / "examples/lead-intake.yaml").read_bytes())
    with (ROOT / "examples/leads.csv").open("rb") as leads:
        reference = files.keep_file(tenant, "leads.csv", leads)
    return service.start_run(tenant, version, {"leads": reference.model_dump()})


def finished(tenant: str, run: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ClusterUnusable), tenant_session(tenant) as connection:
            row = connection.execute(
                sa.text("SELECT status, output, error, finished_at FROM runs WHERE id = :run"), {"run": run}
            ).one()
            if row.finished_at is not None:
                return row
        time.sleep(0.1)
    raise AssertionError(f"the run is not over after {WAIT_SECONDS:.0f} s")


def judge(vendors: Vendors, row: Any) -> None:
    """Every valid row once, every bad row with its reason, one object, one mail."""
    assert row.status == "succeeded", row.error
    assert (row.output["read"], row.output["imported"], row.output["rejected"]) == (300, VALID, REJECTED)
    for operation, subject in (("upsert_contact", "email"), ("chat", "prompt")):
        keys = vendors.keys(operation, subject)
        assert len(keys) == VALID
        assert all(len(each) == 1 for each in keys.values()), f"two keys for one row at {operation}"
        assert len(set.union(*keys.values())) == VALID, f"one key for two rows at {operation}"
    (stored,) = (vendors.folder / "s3/reports/lead-intake").glob("report.json")
    rejected = json.loads(stored.read_text())["rejected"]
    assert len({entry["line"] for entry in rejected}) == REJECTED
    reasons = Counter(next((word for word in REASONS if word in entry["reason"]), "other") for entry in rejected)
    assert reasons == REASONS
    assert len(vendors.keys("put_object", "key")["lead-intake/report.json"]) == 1
    (mail,) = (vendors.folder / "mail").glob("*.eml")
    assert f"Subject: {VALID} leads are in the CRM" in mail.read_text()


def test_the_example_does_each_thing_once(cluster: ClusterInfo) -> None:
    tenant = service.ensure_tenant("local")
    vendors = Vendors(Path(cluster.home) / "vendors")
    run = start_example(tenant)
    judge(vendors, finished(tenant, run))
    assert len(vendors.calls("upsert_contact")) == VALID, "nothing failed, so nothing was repeated"


def test_the_example_survives_its_worker_on_the_embedded_broker(cluster: ClusterInfo) -> None:
    tenant = service.ensure_tenant("local")
    vendors = Vendors(Path(cluster.home) / "vendors")
    run = start_example(tenant)
    half_way(vendors)
    os.kill(cluster.pids["integration"], signal.SIGKILL)  # the supervisor starts another
    assert len(vendors.calls("upsert_contact")) < VALID, "killed too late to show anything"
    judge(vendors, finished(tenant, run))
    assert recoveries(tenant, run) > 0


@pytest.mark.parametrize("part", ["valkey", "postgres", "beat"])
def test_the_example_survives_what_the_supervisor_starts_again(part: str, cluster: ClusterInfo) -> None:
    tenant = service.ensure_tenant("local")
    vendors = Vendors(Path(cluster.home) / "vendors")
    run = start_example(tenant)
    half_way(vendors)
    os.kill(cluster.pids[part], signal.SIGKILL)
    assert len(vendors.calls("upsert_contact")) < VALID, "killed too late to show anything"
    judge(vendors, finished(tenant, run))


def test_the_example_survives_its_worker_on_rabbitmq(postgres: PostgresServer, rabbitmq: RabbitMQServer) -> None:
    with run_vendors(guardian.folder("vendors")) as (doubles, _):
        cluster = Cluster(
            make_database(postgres), rabbitmq.fresh_url(), {"connections": connections_for(doubles.ports)}
        )
        try:
            for spec in QUEUES:
                cluster.worker(spec.name, [spec.name], pool=spec.pool, concurrency=min(spec.concurrency, 16))
            cluster.beat()
            cluster.wait_ready()
            vendors = Vendors(doubles.directory)
            with cluster.active():
                run = start_example(cluster.tenant)
                half_way(vendors)
                cluster.processes["integration"].kill()
                assert len(vendors.calls("upsert_contact")) < VALID, "killed too late to show anything"
                cluster.worker("integration-2", ["integration"])
                judge(vendors, finished(cluster.tenant, run))
                assert recoveries(cluster.tenant, run) > 0
        finally:
            cluster.stop()


def half_way(vendors: Vendors) -> None:
    """Wait until the fan-out is well under way."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(vendors.calls("upsert_contact")) < VALID // 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def recoveries(tenant: str, run: str) -> int:
    """How many segments the control plane took from the dead."""
    query = "SELECT count(*) FROM run_events WHERE run_id = :run AND type = 'segment.recovered'"
    with tenant_session(tenant) as connection:
        return int(connection.execute(sa.text(query), {"run": run}).scalar_one())
