"""Files given as input: kept in the storage under their tenant, passed by reference, read as a stream."""

import hashlib
import mimetypes
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO

import sqlalchemy as sa
import uuid_utils

from nexusflow import storage
from nexusflow.connectors.base import FileRef
from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, Permanent
from nexusflow.settings import get_settings
from nexusflow.workflows.rows.models import files

PIECE_BYTES = 1_048_576
MEMORY_BYTES = 8 * PIECE_BYTES


def keep_file(tenant: str, name: str, content: BinaryIO) -> FileRef:
    """Store a file of the tenant's and give its reference.

    Its row comes last, with no transaction open before it. Raises InvalidInput when it is too large, StorageAway.
    """
    limit, size, digest = get_settings().max_file_bytes, 0, hashlib.sha256()
    identity = str(uuid_utils.uuid7())
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as copy:  # what is stored is what was measured
        while piece := content.read(PIECE_BYTES):
            size += len(piece)
            if size > limit:
                raise InvalidInput(
                    f"{name} is larger than {limit:,} bytes.", "Split it, or raise NEXUSFLOW_MAX_FILE_BYTES."
                )
            digest.update(piece)
            copy.write(piece)
        copy.seek(0)
        key = storage.put(tenant, identity, copy)  # type: ignore[arg-type]  # typeshed: no BinaryIO, in all but name
    kept = {"name": name[-255:], "media_type": media_type, "size": size, "sha256": digest.hexdigest()}
    with tenant_session(tenant) as connection:
        connection.execute(sa.insert(files).values(id=identity, tenant_id=tenant, kept_at=key, **kept))
    return FileRef.model_validate({"$file": identity, **kept})


@contextmanager
def open_file(tenant: str, reference: FileRef) -> Iterator[BinaryIO]:
    """Stream a kept file of the tenant's. Raises Permanent FILE_MISSING where there is none, StorageAway."""
    with tenant_session(tenant) as connection:
        key = connection.execute(sa.select(files.c.kept_at).where(files.c.id == reference.file)).scalar_one_or_none()
    try:
        if key is None:
            raise storage.ObjectMissing("The file has no record.")
        with closing(storage.stream(tenant, key)) as stream:
            yield stream
    except storage.ObjectMissing as missing:
        raise Permanent(
            "FILE_MISSING",
            f"The file {reference.name} is not kept here.",
            "Give it as input again (KEY=@FILE, or POST /v2/files).",
        ) from missing
