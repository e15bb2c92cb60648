"""Objects in a bucket that speaks S3, through AWS's SDK: ``s3://bucket/prefix?endpoint_url=…&region=…``.

Credentials are found as boto3 finds them: variables, files, the machine's role.
"""

import base64
import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings
from nexusflow.storage.keys import Key, ObjectMissing, StorageAway

MULTIPART_BYTES = 16_777_216
"""Larger objects are sent in parts of this size, one after the other."""
_WORDS = {"endpoint_url", "region"}
_GONE = {"NoSuchKey", "404", "NotFound"}
_BATCH = 1_000


@dataclass(frozen=True)
class Place:
    """A bucket, the prefix of all names in it, and how to reach it."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    region: str | None

    def name(self, path: str) -> str:
        """An object's name in the bucket."""
        return f"{self.prefix}/{path}" if self.prefix else path


def place() -> Place:
    """What NEXUSFLOW_STORAGE_URL says. Raises ClusterUnusable for a URL with other words."""
    url = get_settings().storage_url
    parts = urlsplit(url.get_secret_value() if url is not None else "")
    words = parse_qs(parts.query)
    if not parts.netloc or set(words) - _WORDS:
        raise ClusterUnusable(
            "NEXUSFLOW_STORAGE_URL cannot be read.", "Write it s3://bucket/prefix?endpoint_url=https://…&region=…"
        )
    endpoint, region = (words.get(word, [None])[0] for word in ("endpoint_url", "region"))
    return Place(parts.netloc, unquote(parts.path).strip("/"), endpoint, region)


@lru_cache(maxsize=4)
def _client_of(where: Place, pid: int) -> Any:
    """One client a place and process: connections must not cross a fork."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=where.endpoint_url,
        region_name=where.region,
        config=Config(
            retries={"total_max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "path" if where.endpoint_url else "auto"},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=64,
        ),
    )


def _client(where: Place) -> Any:
    return _client_of(where, os.getpid())


def put(key: Key, content: BinaryIO) -> None:
    """Send the object; the store checks what came against its SHA-256 (of each part, where there are several)."""
    where = place()
    with _explained():
        if key.size <= MULTIPART_BYTES:
            checksum = base64.b64encode(bytes.fromhex(key.digest)).decode()
            _client(where).put_object(
                Bucket=where.bucket, Key=where.name(key.path), Body=content.read(), ChecksumSHA256=checksum
            )
        else:
            parts = TransferConfig(
                multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, use_threads=False
            )
            _client(where).upload_fileobj(
                _Unclosed(content),
                where.bucket,
                where.name(key.path),
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=parts,
            )


class _Unclosed(io.RawIOBase):
    """The caller's stream, which the SDK must not close."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


def stream(key: Key) -> BinaryIO:
    """The object's content as it comes."""
    where = place()
    with _explained():
        answer = _client(where).get_object(Bucket=where.bucket, Key=where.name(key.path))
    return io.BufferedReader(_Body(answer["Body"]), 1_048_576)


class _Body(io.RawIOBase):
    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is wider
        with _explained():
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def delete_month(month: str) -> int:
    """Delete a month's objects; says how many. Raises StorageAway also where some of them could not be deleted."""
    where, count, errors = place(), 0, list[dict[str, Any]]()
    with _explained():
        pages = _client(where).get_paginator("list_objects_v2")
        found = pages.paginate(
            Bucket=where.bucket, Prefix=where.name(f"{month}/"), PaginationConfig={"PageSize": _BATCH}
        )
        for page in found:
            names = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if names:
                answer = _client(where).delete_objects(Bucket=where.bucket, Delete={"Objects": names, "Quiet": True})
                count += len(names)
                errors += answer.get("Errors", [])
    if errors:  # whoever asked must not forget the month, or they stay for ever
        raise StorageAway(f"{len(errors)} objects of {month} were not deleted: {errors[0].get('Code')}.")
    return count


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ClientError as refused:
        told = refused.response.get("Error", {})
        if told.get("Code") in _GONE:
            raise ObjectMissing("A stored object is not there any more.") from refused
        raise StorageAway(f"{told.get('Code')}: {str(told.get('Message', ''))[:200]}.") from refused
    except BotoCoreError as error:
        raise StorageAway(f"{str(error)[:200]}.") from error
