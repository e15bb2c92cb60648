"""Storage of what is too large for a row: put, get, stream, delete_month. Values and files are kept under their tenant.

``NEXUSFLOW_STORAGE_URL`` says where: in the database (default), a folder that all processes share, or S3. Objects never
change, and an object's key names its content, so putting one again is harmless.
"""

import datetime
import hashlib
import io
import tempfile
from contextlib import closing
from types import ModuleType
from typing import BinaryIO

from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings
from nexusflow.storage.keys import Key, ObjectMissing, StorageAway, moment_of, month_name, parse_key

__all__ = [
    "Key",
    "ObjectMissing",
    "StorageAway",
    "configured",
    "copy",
    "delete_month",
    "get",
    "month_name",
    "month_of",
    "parse_key",
    "put",
    "stream",
]

_PIECE = 1_048_576


def configured() -> str:
    """The scheme of the storage that new objects go to: db, file or s3. Raises ClusterUnusable for another URL."""
    url = get_settings().storage_url
    if url is None:
        return "db"
    scheme, colon, _ = url.get_secret_value().partition("://")
    if not colon or scheme not in ("file", "s3"):
        raise ClusterUnusable(
            "NEXUSFLOW_STORAGE_URL cannot be read.",
            "Write it file:///folder or s3://bucket/prefix, or leave it away for the database.",
        )
    return scheme


def put(tenant: str, owner: str, data: bytes | BinaryIO, *, month: datetime.datetime | None = None) -> str:
    """Keep bytes or a stream under their owner (a run's or a file's id) and give the key; durable when this returns.

    ``month``: default, the one in which the owner's UUIDv7 was made. Raises StorageAway.
    """
    content, close = _rewindable(data)
    try:
        digest, size = hashlib.sha256(), 0
        while piece := content.read(_PIECE):
            digest.update(piece)
            size += len(piece)
        content.seek(0)
        when = month_name(month or moment_of(owner))
        key = Key(configured(), when, str(tenant), str(owner), digest.hexdigest(), size)
        _backend(key.scheme).put(key, content)
    finally:
        if close:
            content.close()
    return str(key)


def _rewindable(data: bytes | BinaryIO) -> tuple[BinaryIO, bool]:
    """The data as a stream that can be read twice, and whether it is ours to close."""
    if isinstance(data, bytes):
        return io.BytesIO(data), True
    if data.seekable():
        return data, False
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    while piece := data.read(_PIECE):
        copy.write(piece)
    copy.seek(0)
    return copy, True


def get(tenant: str, key: str) -> bytes:
    """An object's bytes, checked against its key. Raises ObjectMissing, StorageAway."""
    parsed = parse_key(key, tenant)
    with closing(_backend(parsed.scheme).stream(parsed)) as opened:
        data: bytes = opened.read()
    if len(data) != parsed.size or hashlib.sha256(data).hexdigest() != parsed.digest:
        raise ObjectMissing("A stored object is incomplete or damaged.")
    return data


def stream(tenant: str, key: str) -> BinaryIO:
    """An object as a stream; the caller closes it. Raises ObjectMissing, StorageAway (also while it is read)."""
    parsed = parse_key(key, tenant)
    opened: BinaryIO = _backend(parsed.scheme).stream(parsed)
    return opened


def copy(tenant: str, key: str, owner: str) -> str:
    """Keep an object once more, under another owner, and give that one's key. Raises ObjectMissing, StorageAway."""
    with closing(stream(tenant, key)) as content:
        return put(tenant, owner, content)


def month_of(owner: str) -> str:
    """The month with which an owner's objects go."""
    return month_name(moment_of(owner))


def delete_month(month: datetime.datetime) -> int:
    """Delete all tenants' objects of a month from the storage outside the database; says how many. Raises StorageAway.

    What the database holds goes with its rows, see ``nexusflow.workflows.rows.retention``.
    """
    scheme = configured()
    return 0 if scheme == "db" else int(_backend(scheme).delete_month(month_name(month)))


def _backend(scheme: str) -> ModuleType:
    # ruff: noqa: PLC0415 - a process loads the storage it uses; boto3 alone takes a second
    if scheme == "db":
        from nexusflow.storage import database

        return database
    if configured() != scheme:
        raise StorageAway(
            f"an object lies in '{scheme}', and NEXUSFLOW_STORAGE_URL names another storage.",
            "Set it back to the storage that was used, or move the objects.",
        )
    if scheme == "file":
        from nexusflow.storage import folder

        return folder
    from nexusflow.storage import s3

    return s3
