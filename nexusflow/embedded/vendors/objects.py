"""S3's objects as files that a person can look at: ``<directory>/<bucket>/<key>``, what is known of each beside."""

import hashlib
import json
import mimetypes
from dataclasses import asdict, dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

NOTES = ".objects"


@dataclass(frozen=True)
class StoredObject:
    """What is known of an object. ``file``: its path under the bucket's directory."""

    key: str
    file: str
    size: int
    etag: str
    content_type: str
    modified: float
    metadata: dict[str, str]

    @property
    def last_modified(self) -> str:
        """When it was written, as HTTP says it."""
        return formatdate(self.modified, usegmt=True)


class ObjectStore:
    """Buckets and objects."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def buckets(self) -> list[str]:
        """The buckets' names."""
        return sorted(one.name for one in self._directory.iterdir() if one.is_dir() and one.name != NOTES)

    def has_bucket(self, bucket: str) -> bool:
        """Whether there is such a bucket."""
        return _is_plain(bucket) and bucket != NOTES and (self._directory / bucket).is_dir()

    def make_bucket(self, bucket: str) -> bool:
        """Make a bucket; False for a name that cannot be one."""
        if not _is_plain(bucket) or bucket.startswith("."):
            return False
        (self._directory / bucket).mkdir(exist_ok=True)
        return True

    def put(
        self, bucket: str, key: str, content: bytes, content_type: str, metadata: dict[str, str], now: float
    ) -> StoredObject:
        """Write an object, over an older one."""
        kept = StoredObject(
            key=key,
            file=self._write(bucket, key, content),
            size=len(content),
            etag=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            content_type=content_type or mimetypes.guess_type(key)[0] or "application/octet-stream",
            modified=now,
            metadata=metadata,
        )
        note = self._note(bucket, key)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(asdict(kept), ensure_ascii=False), encoding="utf-8")
        return kept

    def get(self, bucket: str, key: str) -> StoredObject | None:
        """What is known of an object; None without one."""
        note = self._note(bucket, key)
        return StoredObject(**json.loads(note.read_text(encoding="utf-8"))) if note.exists() else None

    def read(self, bucket: str, kept: StoredObject) -> bytes:
        """An object's content."""
        return (self._directory / bucket / kept.file).read_bytes()

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        kept = self.get(bucket, key)
        if kept is not None:
            (self._directory / bucket / kept.file).unlink(missing_ok=True)
            self._note(bucket, key).unlink(missing_ok=True)

    def list(self, bucket: str, prefix: str = "") -> list[StoredObject]:
        """The objects whose key starts so, by key."""
        notes = (self._directory / NOTES / bucket).glob("*.json")
        found = [StoredObject(**json.loads(note.read_text(encoding="utf-8"))) for note in notes]
        return sorted((one for one in found if one.key.startswith(prefix)), key=lambda one: one.key)

    def _write(self, bucket: str, key: str, content: bytes) -> str:
        parts = key.split("/")
        nested = key if all(_is_plain(part) for part in parts) else quote(key, safe="")
        # "a" and "a/b" can both be objects and cannot both be files; nor can a very long name: those get a short one.
        for file in (nested, hashlib.sha256(key.encode("utf-8")).hexdigest()):
            path = self._directory / bucket / file
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except (FileExistsError, IsADirectoryError, NotADirectoryError, OSError) as error:
                if not isinstance(error, (FileExistsError, IsADirectoryError, NotADirectoryError)) and len(key) < 200:
                    raise
            else:
                return file
        raise OSError(f"the object {key!r} cannot be written")

    def _note(self, bucket: str, key: str) -> Path:
        return self._directory / NOTES / bucket / f"{hashlib.sha256(key.encode('utf-8')).hexdigest()}.json"


def _is_plain(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not set(name) & set('/\\\0:*?"<>|') and name.isprintable()
