"""Objects as files below one folder, which every process of the cluster must see."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings
from nexusflow.storage.keys import Key, ObjectMissing, StorageAway

_PIECE = 1_048_576


def root() -> Path:
    """The folder of NEXUSFLOW_STORAGE_URL. Raises ClusterUnusable unless it is absolute."""
    url = get_settings().storage_url
    parts = urlsplit(url.get_secret_value() if url is not None else "")
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or path == Path("/"):
        raise ClusterUnusable("NEXUSFLOW_STORAGE_URL names no folder.", "Write it file:///absolute/folder.")
    return path


def _mounted() -> Path:
    """The folder, which must be there: one made in an unmounted disk's place would hide what is kept on it."""
    base = root()
    if not base.is_dir():
        raise StorageAway(f"{base} is not there.", "Make or mount it, or correct NEXUSFLOW_STORAGE_URL.")
    return base


def put(key: Key, content: BinaryIO) -> None:
    """Write the file under another name, then give it its own: nobody sees half of one, even after a power cut."""
    target = _mounted() / key.path
    with _explained():
        if target.exists() and target.stat().st_size == key.size:
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = target.with_name(f".{uuid.uuid4().hex}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(content, file, _PIECE)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync(target.parent)


def _sync(folder: Path) -> None:
    """Make the new name durable, and those of the folders above that may be new too."""
    for each in (folder, *list(folder.parents)[:3]):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def stream(key: Key) -> BinaryIO:
    """The file, for reading."""
    with _explained():
        try:
            return (root() / key.path).open("rb")
        except FileNotFoundError:
            _mounted()
            raise ObjectMissing("A stored object is not there any more.") from None


def delete_month(month: str) -> int:
    """Delete a month's files; says how many."""
    with _explained():
        folder = _mounted() / month
        count = sum(len(files) for _, _, files in os.walk(folder))
        shutil.rmtree(folder, ignore_errors=not folder.exists())
    return count


def every_object() -> Iterator[tuple[str, Path]]:
    """Each object's path within the storage, and its file, in order; none where the folder was never used."""
    base = root()
    for folder, folders, files in os.walk(base):
        folders.sort()
        for name in sorted(files):
            if not name.startswith("."):
                path = Path(folder) / name
                yield path.relative_to(base).as_posix(), path


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as refused:
        where = refused.filename or root()
        raise StorageAway(
            f"{where}: {refused.strerror or refused}.", "Check the folder's disk and permissions."
        ) from refused
