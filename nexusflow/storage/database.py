"""Objects in PostgreSQL, in chunks: no further service is needed. A transaction a chunk, so none is ever long."""

import io
from typing import BinaryIO

from nexusflow.db.session import AWAY, tenant_pipeline
from nexusflow.errors import ClusterUnusable
from nexusflow.storage.keys import Key, ObjectMissing, StorageAway

CHUNK_BYTES = 1_048_576

_INSERT = """
INSERT INTO object_chunks (key, number, tenant_id, data) VALUES (%(key)s, %(number)s, %(tenant)s, %(data)s)
ON CONFLICT DO NOTHING
"""
_READ = "SELECT data FROM object_chunks WHERE key = %(key)s AND number = %(number)s"


def put(key: Key, content: BinaryIO) -> None:
    """Keep a stream in chunks; one that was kept half is completed, since a key names its content."""
    for number, chunk in enumerate(iter(lambda: content.read(CHUNK_BYTES), b"")):
        row = {"key": str(key), "number": number, "tenant": key.tenant, "data": chunk}
        with _explained(), tenant_pipeline(key.tenant) as pipeline:
            pipeline.begin()
            pipeline.run(_INSERT, row)


def stream(key: Key) -> BinaryIO:
    """The object as a stream of its chunks."""
    chunks = _Chunks(key)
    if key.size and not chunks.holds_any():
        raise ObjectMissing("A stored object is not there any more.")
    return io.BufferedReader(chunks, CHUNK_BYTES)


class _Chunks(io.RawIOBase):
    """Reads an object's chunks one after the other; one is in memory at a time."""

    def __init__(self, key: Key) -> None:
        self._key, self._number, self._rest, self._left = key, 0, memoryview(b""), key.size

    def holds_any(self) -> bool:
        """Whether the object's first chunk is there."""
        self._next()
        return bool(self._rest)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is wider
        if not self._rest and self._left:
            self._next()
            if not self._rest:
                raise ObjectMissing("A stored object is incomplete.")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest, self._left = self._rest[count:], self._left - count
        return count

    def _next(self) -> None:
        with _explained(), tenant_pipeline(self._key.tenant) as pipeline:
            pipeline.begin()
            found = pipeline.run(_READ, {"key": str(self._key), "number": self._number})
        row = found.fetchone()
        self._rest = memoryview(row[0] if row is not None else b"")
        self._number += 1


class _explained:  # noqa: N801 - reads as a word: with _explained()
    """A database that is away comes out as StorageAway."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageAway):
            return
        if isinstance(error, AWAY):
            raise StorageAway(str(error).strip().splitlines()[0] if str(error).strip() else "the connection was lost")
        if isinstance(error, ClusterUnusable):
            raise StorageAway(error.message, error.hint) from error
