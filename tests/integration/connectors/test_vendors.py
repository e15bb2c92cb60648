"""The local vendors as a process: started, stopped, started again on its data."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from nexusflow.connectors.hubspot.actions import UpsertContactInput, upsert_contact
from nexusflow.connectors.openai.actions import ChatInput, chat
from nexusflow.connectors.s3.actions import PutObjectInput, put_object
from tests.integration.connectors.conftest import Vendors, run_vendors


def test_contacts_and_objects_outlive_the_process_and_each_call_is_a_line(tmp_path: Path) -> None:
    contact = UpsertContactInput(email="ada@example.com")
    with run_vendors(tmp_path) as (first, _):
        assert upsert_contact(first.context("hubspot"), contact).created
        put_object(first.context("s3"), PutObjectInput(bucket="reports", key="a.json", body={"a": 1}))
    with run_vendors(tmp_path) as (second, _):
        assert not upsert_contact(second.context("hubspot"), contact).created
        listed = httpx2.get(f"{second.root}/s3/reports/a.json")
        assert listed.json() == {"a": 1}
    lines = [json.loads(line) for line in (tmp_path / "vendors" / "calls.jsonl").read_text().splitlines()]
    assert [line["operation"] for line in lines] == ["upsert_contact", "put_object", "upsert_contact"]


def test_sigterm_stops_it_at_once_even_in_the_middle_of_a_call(tmp_path: Path) -> None:
    with run_vendors(tmp_path) as (vendors, process):
        vendors.fault("openai", "hang")
        with socket.create_connection(("127.0.0.1", vendors.ports["http"])) as caller:
            caller.sendall(b"GET /openai/v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            until = time.monotonic() + 5
            while not vendors.calls("openai", "fault"):
                assert time.monotonic() < until
                time.sleep(0.01)
            started = time.monotonic()
            process.terminate()
            assert process.wait(5) == 0
            assert time.monotonic() - started < 1


def test_given_ports_are_used_and_a_taken_one_is_said(tmp_path: Path, unused_port: int) -> None:
    with run_vendors(tmp_path, "--port", str(unused_port)) as (vendors, _):
        assert vendors.ports["http"] == unused_port
        command = [sys.executable, "-m", "nexusflow.embedded.vendors", "--directory", str(tmp_path / "other")]
        more = ["--port-file", str(tmp_path / "other.json"), "--port", str(unused_port)]
        refused = subprocess.run([*command, *more], check=False, capture_output=True, text=True, timeout=20)
    assert refused.returncode == 1
    assert refused.stderr.startswith("The local vendors cannot start:")
    assert "Traceback" not in refused.stderr


def test_a_delayed_call_is_answered_late_and_counted_once(vendors: Vendors) -> None:
    vendors.fault("openai", "delay", seconds=0.3)
    context = vendors.context("openai")
    started = time.monotonic()
    chat(context, ChatInput(model="m", prompt="p"))
    assert time.monotonic() - started >= 0.3
    assert len(vendors.calls("openai", "chat", context.idempotency_key)) == 1


@pytest.mark.parametrize("fault", [{"vendor": "nobody", "kind": "hang"}, {"vendor": "s3", "kind": "x"}, []])
def test_an_unknown_fault_is_refused(vendors: Vendors, fault: object) -> None:
    assert httpx2.post(f"{vendors.root}/_faults", json=fault).status_code == 400
