"""The names of stored objects: where each lies, whose it is, and what it must contain."""

import datetime
import re
from dataclasses import dataclass

from nexusflow.errors import ClusterUnusable, NexusError

SCHEMES = ("db", "file", "s3")
_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FORM = re.compile(
    rf"(?P<scheme>{'|'.join(SCHEMES)}):(?P<month>[0-9]{{4}}-[0-9]{{2}})/(?P<tenant>{_ID})/(?P<owner>{_ID})"
    r"/(?P<digest>[0-9a-f]{64})\.(?P<size>[0-9]{1,15})"
)


class StorageAway(ClusterUnusable):
    """The storage cannot be reached or refuses work: trying again may help."""

    def __init__(self, message: str, hint: str = "Check NEXUSFLOW_STORAGE_URL and that the storage runs.") -> None:
        super().__init__(f"The storage cannot be used: {message}", hint)


class ObjectMissing(NexusError):
    """An object that is named but not there, damaged, or another tenant's."""

    def __init__(self, message: str) -> None:
        super().__init__("OBJECT_MISSING", message, "It was deleted, or its run is past its retention.", 404)


@dataclass(frozen=True)
class Key:
    """An object's name: content-addressed (SHA-256 and size in bytes) under its owner, a run or a file.

    ``month`` is the owner's, as ``yyyy-mm``: a month's objects go together.
    """

    scheme: str
    month: str
    tenant: str
    owner: str
    digest: str
    size: int

    def __str__(self) -> str:
        return f"{self.scheme}:{self.path}"

    @property
    def path(self) -> str:
        """The name within its storage."""
        return f"{self.month}/{self.tenant}/{self.owner}/{self.digest}.{self.size}"


def parse_key(text: str, tenant: str) -> Key:
    """The key as its parts. Raises ObjectMissing for a text that is none, or is another tenant's."""
    found = _FORM.fullmatch(text)
    if found is None or found["tenant"] != str(tenant):
        raise ObjectMissing("There is no such stored object.")
    return Key(found["scheme"], found["month"], found["tenant"], found["owner"], found["digest"], int(found["size"]))


def month_name(moment: datetime.datetime) -> str:
    """A moment's month in UTC, as in keys."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m")


def moment_of(owner: str) -> datetime.datetime:
    """When a UUIDv7 was made (RFC 9562, section 5.7: 48 bits of Unix milliseconds first)."""
    milliseconds = int(owner.replace("-", "")[:12], 16)
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
