"""``s3.put_object`` through the real SDK against the local vendor and against moto."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.s3.actions import PutObjectInput, put_object
from nexusflow.embedded.vendors import connections_for
from nexusflow.errors import Permanent, StepError, Transient
from tests.integration.connectors.conftest import Vendors, make_context


def client(connection: dict[str, str]) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=connection["endpoint_url"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
        region_name="us-east-1",
    )


@pytest.fixture(scope="module")
def moto() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection = {"access_key_id": "local", "secret_access_key": "local", "endpoint_url": f"http://{host}:{port}"}
    yield connection
    server.stop()


@pytest.fixture(params=["vendor", "moto"])
def store(request: pytest.FixtureRequest, vendors: Vendors) -> dict[str, str]:
    moto_or_vendor = request.getfixturevalue("moto") if request.param == "moto" else None
    connection: dict[str, str] = moto_or_vendor or connections_for(vendors.ports)["s3"]
    client(connection).create_bucket(Bucket="reports")
    return connection


def put(context: StepContext, **given: Any) -> Any:
    return put_object(context, PutObjectInput.model_validate({"bucket": "reports", **given}))


@pytest.mark.parametrize(
    ("key", "body", "shape", "expected", "media_type"),
    [
        ("a/report.json", {"total": 3, "name": "Zoë"}, "json", None, "application/json"),
        ("b/note ünï.txt", "grüße\n", "text", "grüße\n".encode(), "text/plain; charset=utf-8"),
        ("c.csv", [{"a": 1, "b": "x,y"}, {"a": None, "c": [1]}], "csv", b'a,b,c\r\n1,"x,y",\r\n,,[1]\r\n', None),
        ("d.bin", base64.b64encode(b"\x00\xff").decode(), "base64", b"\x00\xff", "application/octet-stream"),
    ],
)
def test_objects_arrive_whole(
    store: dict[str, str], key: str, body: Any, shape: str, expected: bytes | None, media_type: str | None
) -> None:
    context = make_context("s3", store)
    done = put(context, key=key, body=body, format=shape)
    kept = client(store).get_object(Bucket="reports", Key=key)
    content = kept["Body"].read()
    assert content == expected if expected is not None else json.loads(content) == body
    assert done.size == len(content)
    assert done.etag == kept["ETag"].strip('"')
    assert kept["Metadata"] == {"idempotency-key": context.idempotency_key}
    assert media_type in (None, kept["ContentType"])
    assert done.url.startswith(store["endpoint_url"])


def test_a_missing_bucket_is_said(store: dict[str, str]) -> None:
    with pytest.raises(Permanent, match="BUCKET_MISSING") as caught:
        put(make_context("s3", store), bucket="nowhere", key="a", body=1)
    assert "nowhere" in caught.value.message


def test_the_local_object_is_a_file(vendors: Vendors) -> None:
    context = vendors.context("s3")
    put(context, key="day/report.txt", body="hello", format="text")
    assert (vendors.directory / "s3" / "reports" / "day" / "report.txt").read_text() == "hello"
    put(vendors.context("s3"), key="day", body="a name that is a folder too", format="text")
    put(vendors.context("s3"), key="../../escape", body="stays inside", format="text")
    s3 = client(connections_for(vendors.ports)["s3"])
    assert s3.get_object(Bucket="reports", Key="../../escape")["Body"].read() == b"stays inside"
    assert not (vendors.directory.parent / "escape").exists()
    listed = s3.list_objects_v2(Bucket="reports", Prefix="day")["Contents"]
    assert [one["Key"] for one in listed] == ["day", "day/report.txt"]
    assert len(vendors.calls("s3", "put_object", context.idempotency_key)) == 1


def test_busy_hanging_and_absent_stores_are_transient(vendors: Vendors, unused_port: int) -> None:
    vendors.fault("s3", "status", status=503, retry_after=4)
    error = failure(vendors.context("s3"))
    assert isinstance(error, Transient)
    assert error.retry_in == 4.0
    vendors.fault("s3", "hang")
    started = time.monotonic()
    hung = failure(vendors.context("s3", 0.6))
    assert isinstance(hung, Transient)
    assert hung.code == "VENDOR_TIMEOUT"
    assert time.monotonic() - started < 3
    away = failure(vendors.context("s3", endpoint_url=f"http://127.0.0.1:{unused_port}"))
    assert isinstance(away, Transient)


def failure(context: StepContext) -> StepError:
    with pytest.raises(StepError) as caught:
        put(context, key="k", body=1)
    return caught.value


def test_a_body_that_does_not_fit_its_format_is_refused(vendors: Vendors) -> None:
    for body, shape in (("%%", "base64"), ({"a": 1}, "text"), ("text", "csv")):
        with pytest.raises(Permanent, match="INPUT_INVALID"):
            put(vendors.context("s3"), key="k", body=body, format=shape)


def test_an_address_that_is_none_is_permanent(vendors: Vendors) -> None:
    with pytest.raises(Permanent, match="CREDENTIAL_INVALID"):
        put(vendors.context("s3", endpoint_url="nowhere"), key="k", body=1)


def test_a_profile_of_the_person_has_no_say(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    assert put(vendors.context("s3", session_token="other"), key="k", body=1).size == 1
