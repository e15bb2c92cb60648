"""Every storage keeps, reads, refuses and deletes alike: the database, a folder and S3."""

import datetime
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import uuid_utils
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from nexusflow import storage
from nexusflow.db.session import runtime_engine
from nexusflow.errors import ClusterUnusable, Permanent
from nexusflow.settings import Settings, get_settings, use_settings
from nexusflow.storage import folder, s3
from nexusflow.workflows.rows import values
from tests.servers.databases import Database

AT = datetime.datetime(2026, 3, 31, 23, 59, tzinfo=datetime.UTC)
RUN = str(uuid_utils.uuid7())


@contextmanager
def stored_at(database: Database, url: str | None, **changes: Any) -> Iterator[None]:
    """This process's settings, with the storage at a URL."""
    where = SecretStr(url) if url is not None else None
    use_settings(
        Settings(
            database_url=SecretStr(database.runtime_url),
            control_database_url=SecretStr(database.control_url),
            storage_url=where,
            **changes,
        )
    )
    try:
        yield
    finally:
        use_settings(None)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket of a stand-in that speaks S3."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()  # type: ignore[no-untyped-call]
    endpoint = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="kept")
        yield f"s3://kept/some/prefix?endpoint_url={quote(endpoint, safe='')}&region=us-east-1"
    server.stop()


@pytest.fixture(params=["db", "file", "s3"])
def kind(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[str]:
    """Each storage in turn, in use."""
    (tmp_path / "kept").mkdir()
    urls = {"db": None, "file": f"file://{tmp_path}/kept"}
    url = request.getfixturevalue("bucket") if request.param == "s3" else urls[request.param]
    with stored_at(database, url):
        yield str(request.param)


def test_an_object_is_kept_read_and_streamed(kind: str, database: Database) -> None:
    tenant = str(database.tenant_a)
    data = bytes(range(256)) * 4096 * 3 + b"end"
    key = storage.put(tenant, RUN, data, month=AT)
    assert key.startswith(f"{kind}:2026-03/{tenant}/{RUN}/")
    assert storage.put(tenant, RUN, io.BytesIO(data), month=AT) == key
    assert storage.get(tenant, key) == data
    with storage.stream(tenant, key) as stream:
        assert stream.read(5) == data[:5]
        assert stream.read() == data[5:]
    empty = storage.put(tenant, RUN, b"")
    assert storage.get(tenant, empty) == b""
    for forged in (key.replace(tenant, str(database.tenant_b)), f"{key}/../x", "file:/etc/passwd", ""):
        with pytest.raises(storage.ObjectMissing):
            storage.get(tenant, forged)
    with pytest.raises(storage.ObjectMissing):
        storage.get(str(database.tenant_b), key)
    with pytest.raises(storage.ObjectMissing):
        storage.get(tenant, f"{key[:-20]}{'0' * 20}")


def test_a_months_objects_go_and_no_others(kind: str, database: Database) -> None:
    if kind == "db":
        return  # the rows go with retention, see test_retention
    tenant = str(database.tenant_a)
    old = [storage.put(tenant, RUN, each, month=AT) for each in (b"one", b"two")]
    new = storage.put(tenant, RUN, b"three", month=AT + datetime.timedelta(days=1))
    assert storage.delete_month(AT) >= 2
    assert storage.delete_month(AT) == 0
    assert storage.get(tenant, new) == b"three"
    for key in old:
        with pytest.raises(storage.ObjectMissing):
            storage.get(tenant, key)


def test_what_was_not_deleted_is_not_forgotten(bucket: str, database: Database, tmp_path: Path) -> None:
    tenant = str(database.tenant_a)

    def refuse_one(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Errors"] = [{"Key": "some/prefix/2026-03/x", "Code": "AccessDenied"}]

    with stored_at(database, bucket):
        storage.put(tenant, RUN, b"kept", month=AT)
        events = s3._client(s3.place()).meta.events
        events.register("after-call.s3.DeleteObjects", refuse_one)
        try:
            with pytest.raises(storage.StorageAway, match="AccessDenied"):
                storage.delete_month(AT)
        finally:
            events.unregister("after-call.s3.DeleteObjects", refuse_one)
    with stored_at(database, f"file://{tmp_path}/not-mounted"), pytest.raises(storage.StorageAway):
        storage.delete_month(AT)


def test_s3_takes_a_large_object_in_parts(bucket: str, database: Database) -> None:
    tenant, data = str(database.tenant_a), b"0123456789abcdef" * 1_100_000
    with stored_at(database, bucket):
        content = io.BytesIO(data)
        key = storage.put(tenant, RUN, content)
        assert storage.get(tenant, key) == data
        assert not content.closed


def test_a_folders_files_are_private_and_whole(database: Database, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    with stored_at(database, f"file://{tmp_path}/a%20b"):
        storage.put(str(database.tenant_a), RUN, b"secret")
        found = [path for _, path in folder.every_object()]
    assert [path.read_bytes() for path in found] == [b"secret"]
    assert stat.S_IMODE(found[0].stat().st_mode) == 0o600
    assert list(tmp_path.rglob(".*")) == []


def test_what_is_away_or_damaged_says_so(database: Database, tmp_path: Path, bucket: str) -> None:
    tenant = str(database.tenant_a)
    (tmp_path / "kept").mkdir()
    with stored_at(database, f"file://{tmp_path}/kept"):
        key = storage.put(tenant, RUN, b"[1, 2, 3]")
        next(path for _, path in folder.every_object()).write_bytes(b"[1, 2, 4]")
        with pytest.raises(Permanent, match="VALUE_MISSING"):
            values.loaded(tenant, None, key)
        (tmp_path / "kept").rename(tmp_path / "away")
        with pytest.raises(storage.StorageAway):
            storage.get(tenant, key)
        with pytest.raises(storage.StorageAway):
            storage.put(tenant, RUN, b"x")
        (tmp_path / "kept").write_text("in the way")
        with pytest.raises(storage.StorageAway):
            storage.put(tenant, RUN, b"x")
    with (
        stored_at(database, bucket.replace("kept/", "none/")),
        pytest.raises(storage.StorageAway, match="NoSuchBucket"),
    ):
        storage.put(tenant, RUN, b"x")
    with stored_at(database, None), pytest.raises(storage.StorageAway):
        storage.get(tenant, key)
    for wrong in ("ftp://x/y", "s3://", "file://relative", "file:///", "nonsense"):
        with stored_at(database, wrong), pytest.raises(ClusterUnusable):
            storage.put(tenant, RUN, b"x")


def test_a_pool_with_no_connection_left_is_a_storage_that_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that waits for a large value is tried again then, and not failed for a defect."""
    tenant = str(database.tenant_a)
    with stored_at(database, None):
        key = storage.put(tenant, RUN, b"value")
        engine = runtime_engine()
        monkeypatch.setattr(engine.pool, "_timeout", 0.05)
        held = [engine.raw_connection() for _ in range(2 * get_settings().database_pool_size)]
        try:
            with pytest.raises(storage.StorageAway):
                storage.get(tenant, key)
        finally:
            for each in held:
                each.close()
            engine.dispose()


def test_a_put_that_was_killed_half_way_is_completed(database: Database) -> None:
    tenant, data = str(database.tenant_a), b"x" * 3_000_000
    with stored_at(database, None):
        key = storage.put(tenant, RUN, data)
        with psycopg.connect(database.owner_url) as owner:
            owner.execute("DELETE FROM object_chunks WHERE key = %s AND number = 1", (key,))
        with pytest.raises(storage.ObjectMissing):
            storage.get(tenant, key)
        assert storage.put(tenant, RUN, data) == key
        assert storage.get(tenant, key) == data


def test_only_large_values_leave_their_row(database: Database) -> None:
    tenant = str(database.tenant_a)
    with stored_at(database, None, inline_bytes=1024):
        small, large = "x" * 1022, "x" * 1023
        assert values.stored(tenant, RUN, small) == (f'"{small}"', None)
        inline, key = values.stored(tenant, RUN, large)
        assert inline is None
        assert key is not None
        assert values.loaded(tenant, None, key) == large
        assert values.note(tenant, key)["$large"]["bytes"] == 1025
        assert values.loaded(tenant, {"$large": 1}, None) == {"$large": 1}
