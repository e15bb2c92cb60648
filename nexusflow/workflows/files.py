"""Files given as input: kept in PostgreSQL in chunks under their tenant, passed by reference, read as a stream."""

import hashlib
import io
import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import sqlalchemy as sa
import uuid_utils

from nexusflow.connectors.base import FileRef
from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, Permanent
from nexusflow.settings import get_settings
from nexusflow.workflows.models import file_chunks, files

CHUNK_BYTES = 1_048_576


def keep_file(tenant: str, name: str, content: BinaryIO) -> FileRef:
    """Store a file of the tenant's and give its reference. Raises InvalidInput when it is too large."""
    limit, size, digest = get_settings().max_file_bytes, 0, hashlib.sha256()
    identity = str(uuid_utils.uuid7())
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    row = {"id": identity, "tenant_id": tenant, "name": name[-255:], "media_type": media_type}
    with tenant_session(tenant) as connection:
        connection.execute(sa.insert(files).values(**row, size=0, sha256=""))
        for number, chunk in enumerate(iter(lambda: content.read(CHUNK_BYTES), b"")):
            size += len(chunk)
            if size > limit:
                raise InvalidInput(
                    f"{name} is larger than {limit:,} bytes.", "Split it, or raise NEXUSFLOW_MAX_FILE_BYTES."
                )
            digest.update(chunk)
            stored = {"file_id": identity, "number": number, "tenant_id": tenant, "data": chunk}
            connection.execute(sa.insert(file_chunks).values(**stored))
        kept = {"size": size, "sha256": digest.hexdigest()}
        connection.execute(sa.update(files).where(files.c.id == identity).values(**kept))
    return FileRef.model_validate({"$file": identity, "name": row["name"], "media_type": media_type, **kept})


class _Chunks(io.RawIOBase):
    """Reads a file's chunks one after the other; one is in memory at a time."""

    def __init__(self, tenant: str, file: str) -> None:
        self._tenant, self._file, self._number, self._rest = tenant, file, 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is wider
        if not self._rest:
            self._rest = self._next()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes:
        query = sa.select(file_chunks.c.data).where(
            file_chunks.c.file_id == self._file, file_chunks.c.number == self._number
        )
        with tenant_session(self._tenant) as connection:
            found = connection.execute(query).scalar_one_or_none()
        self._number += 1
        return bytes(found or b"")


@contextmanager
def open_file(tenant: str, reference: FileRef) -> Iterator[BinaryIO]:
    """Stream a kept file of the tenant's. Raises Permanent FILE_MISSING where there is none."""
    with tenant_session(tenant) as connection:
        known = connection.execute(sa.select(files.c.id).where(files.c.id == reference.file)).first()
    if known is None:
        raise Permanent(
            "FILE_MISSING", f"The file {reference.name} is not kept here.", "Give it as input again: KEY=@FILE."
        )
    with io.BufferedReader(_Chunks(tenant, reference.file), CHUNK_BYTES) as stream:
        yield stream
