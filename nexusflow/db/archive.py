"""A backup's file: a ZIP with each table as COPY text, the stored objects, and a manifest with checksums."""

import hashlib
import json
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nexusflow.errors import InvalidInput, NexusError

FORMAT = 1
MANIFEST = "manifest.json"
OBJECTS = "objects/"
_PIECE = 1_048_576
_LEVEL = 3
_OBJECT = re.compile(r"[0-9]{4}-[0-9]{2}/[0-9a-f-]{36}/[0-9a-f-]{36}/[0-9a-f]{64}\.[0-9]+")
Report = Callable[[str], None]


class DamagedBackup(NexusError):
    """A file that is no backup, or not a whole one."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            "DAMAGED_BACKUP", f"{path} cannot be restored: {why}.", "Nothing was changed. Use another copy.", 422
        )


@dataclass(frozen=True)
class TableCopy:
    """One table's rows in the archive."""

    name: str
    columns: list[str]
    rows: int
    bytes: int
    sha256: str

    @property
    def member(self) -> str:
        """Its file in the archive."""
        return f"tables/{self.name}.copy"


@dataclass(frozen=True)
class Manifest:
    """What an archive holds. ``storage``: where large values and files lie (db, file or s3; s3's are not copied)."""

    nexusflow: str
    revision: str
    taken_at: str
    storage: str
    months: list[str]
    tables: list[TableCopy]
    objects: int = 0
    object_bytes: int = 0
    event_id: int = 0
    format: int = field(default=FORMAT)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


@contextmanager
def new_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A ZIP for the owner's eyes that gets its name once it is whole, and takes no other file's place."""
    if path.exists():
        raise InvalidInput(f"{path} is there already.", "Name a file that is not.")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            raise InvalidInput(f"{path} is there already.", "Name a file that is not.") from None
    finally:
        draft.unlink(missing_ok=True)


def write_table(archive: zipfile.ZipFile, name: str, columns: list[str], pieces: Iterable[Any]) -> TableCopy:
    """Add a table's COPY text as it comes."""
    digest, size, rows = hashlib.sha256(), 0, 0
    with archive.open(f"tables/{name}.copy", "w", force_zip64=True) as member:
        for piece in pieces:
            data = bytes(piece)
            digest.update(data)
            size += len(data)
            rows += data.count(b"\n")  # COPY writes a newline within a value as \\n
            member.write(data)
    return TableCopy(name, columns, rows, size, digest.hexdigest())


def write_object(archive: zipfile.ZipFile, name: str, path: Path) -> int:
    """Add a stored object's file; gives its size."""
    archive.write(path, OBJECTS + name)
    return path.stat().st_size


def write_manifest(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """The last member: an archive without it is not whole."""
    archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))


@contextmanager
def whole_archive(path: Path, report: Report) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """An archive every byte of which was checked, and its manifest. Raises InvalidInput, DamagedBackup."""
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.", "Name a file that `nexusflow db backup` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            report("checking the file")
            for table in manifest.tables:
                _check(archive, table.member, table.sha256, table.bytes, path)
            names = object_names(archive)
            if len(names) != manifest.objects:
                raise DamagedBackup(path, "stored objects are missing")
            for name in names:
                digest, _, size = name.rpartition("/")[2].partition(".")
                _check(archive, OBJECTS + name, digest, int(size) if size.isdigit() else -1, path)
            yield archive, manifest
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DamagedBackup(path, str(error).rstrip(".") or "it is cut off") from None


def object_names(archive: zipfile.ZipFile) -> list[str]:
    """The stored objects in the archive, by their path in the storage; what has no object's name is none."""
    names = [name.removeprefix(OBJECTS) for name in archive.namelist() if name.startswith(OBJECTS)]
    return [name for name in names if _OBJECT.fullmatch(name)]


def pieces_of(archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    """A member's content, a piece at a time."""
    with archive.open(member) as content:
        while piece := content.read(_PIECE):
            yield piece


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        found = json.loads(archive.read(MANIFEST))
        if found.get("format") != FORMAT:
            raise DamagedBackup(path, f"its format {found.get('format')} is not known to this NexusFlow")
        return Manifest(**{**found, "tables": [TableCopy(**each) for each in found["tables"]]})
    except (KeyError, ValueError, TypeError, AttributeError):
        raise DamagedBackup(path, "it has no manifest of a backup") from None


def _check(archive: zipfile.ZipFile, member: str, sha256: str, size: int, path: Path) -> None:
    digest, count = hashlib.sha256(), 0
    try:
        for piece in pieces_of(archive, member):
            digest.update(piece)
            count += len(piece)
    except KeyError:
        raise DamagedBackup(path, f"{member} is missing") from None
    if (digest.hexdigest(), count) != (sha256, size):
        raise DamagedBackup(path, f"{member} is damaged")
