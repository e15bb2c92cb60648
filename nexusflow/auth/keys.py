"""API keys: a key names a tenant. Only its digest is kept; a revoked key dies within seconds."""

import datetime
import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import control_session, tenant_session
from nexusflow.errors import InvalidInput, NotFound, Unauthorized

PREFIX = "nxf_"
SHOWN = 12
"""How many characters of a key are kept to know it by: the prefix and 48 of its 256 bits."""
MIN_PREFIX = 8
CACHE_SECONDS = 5.0
CACHED = 10_000
MAX_NAME = 200
_LONGEST = 128
_USED_SECONDS = 60

_COLUMNS = "id, tenant_id, name, prefix, created_at, expires_at, revoked_at, last_used_at"
_CREATE = sa.text(
    "INSERT INTO api_keys (id, tenant_id, name, prefix, digest, expires_at)"  # noqa: S608 - constants
    " VALUES (:id, :tenant, :name, :prefix, :digest, now() + CAST(:expires_in AS interval))"
    f" RETURNING {_COLUMNS}"
)
_LIST = sa.text(f"SELECT {_COLUMNS} FROM api_keys ORDER BY id DESC")  # noqa: S608 - constants
_REVOKE = sa.text(
    f"UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id RETURNING {_COLUMNS}"  # noqa: S608
)
_LOOK_UP = sa.text(
    "SELECT k.id, k.name, k.tenant_id, t.name AS tenant_name,"
    " CAST(extract(epoch FROM k.expires_at - now()) AS float8) AS seconds_left,"
    " coalesce(k.last_used_at < now() - make_interval(secs => :used), true) AS unnoted"
    " FROM api_keys k JOIN tenants t ON t.id = k.tenant_id"
    " WHERE k.digest = :digest AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
)
_NOTE_USE = sa.text("UPDATE api_keys SET last_used_at = now() WHERE id = :id")


@dataclass(frozen=True)
class ApiKey:
    """A key as it is listed; never the secret. ``prefix``: how the secret begins."""

    id: str
    tenant: str
    name: str
    prefix: str
    created_at: datetime.datetime
    expires_at: datetime.datetime | None
    revoked_at: datetime.datetime | None
    last_used_at: datetime.datetime | None

    @property
    def state(self) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        is_over = self.expires_at is not None and self.expires_at <= datetime.datetime.now(datetime.UTC)
        return "expired" if is_over else "valid"


@dataclass(frozen=True)
class Principal:
    """Who calls: a tenant, by one of its keys."""

    tenant: str
    tenant_name: str
    key_id: str
    key_name: str


def create_key(tenant: str, name: str, *, expires_in: datetime.timedelta | None = None) -> tuple[ApiKey, str]:
    """A new key and its secret, which is never shown again. Raises InvalidInput."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput("The key's name cannot be used.", f"Give 1 to {MAX_NAME} printable characters.")
    if expires_in is not None and not datetime.timedelta() < expires_in <= datetime.timedelta(days=36_500):
        raise InvalidInput("The key's lifetime cannot be used.", "Give more than nothing and at most 100 years.")
    secret = PREFIX + secrets.token_urlsafe(32)
    values = {
        "id": str(uuid_utils.uuid7()),
        "tenant": tenant,
        "name": name,
        "prefix": secret[:SHOWN],
        "digest": _digest(secret),
        "expires_in": expires_in,
    }
    with tenant_session(tenant) as connection:
        return _key(connection.execute(_CREATE, values).one()), secret


def list_keys(tenant: str) -> list[ApiKey]:
    """The tenant's keys, newest first; also the revoked and the expired ones."""
    with tenant_session(tenant) as connection:
        return [_key(row) for row in connection.execute(_LIST)]


def find_key(tenant: str, name: str) -> ApiKey:
    """The key of this id or name, or whose id or secret begins so (8 characters at least).

    Raises NotFound, InvalidInput (more than one: of a name, only keys that are still valid count).
    """
    given, keys = name.strip(), list_keys(tenant)
    for fits in (
        lambda key: key.id == given.lower(),
        lambda key: key.name == given and key.state == "valid",
        lambda key: len(given) >= MIN_PREFIX and given.startswith(key.prefix),
        lambda key: len(given) >= MIN_PREFIX and (key.id.startswith(given.lower()) or key.prefix.startswith(given)),
        lambda key: key.name == given,
    ):
        found = [key for key in keys if fits(key)]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(key.id for key in found[:5])
            raise InvalidInput(f"More than one key is meant by {given[:80]}: {shown}.", "Give the id.")
    raise NotFound(f"There is no key {given[:20]}.", "nexusflow keys list shows the keys.")


def revoke_key(tenant: str, key_id: str) -> ApiKey:
    """End a key, for good; every process refuses it within 5 s. Raises NotFound."""
    row = None
    with tenant_session(tenant) as connection:
        if _is_uuid(key_id):
            row = connection.execute(_REVOKE, {"id": key_id}).first()
    if row is None:
        raise NotFound(f"There is no key {key_id[:80]}.", "nexusflow keys list shows the keys.")
    _known.clear()
    return _key(row)


def authenticate(secret: str) -> Principal:
    """Whose key this is. Raises Unauthorized, ClusterUnusable."""
    if not secret.startswith(PREFIX) or len(secret) > _LONGEST or not secret.isascii():
        raise Unauthorized
    digest = _digest(secret)
    is_known, principal = _known.get(digest)
    if not is_known:
        principal, seconds = _look_up(digest)
        _known.put(digest, principal, seconds)
    if principal is None:
        raise Unauthorized
    return principal


def recalled(secret: str) -> Principal | None:
    """Whose key this is, where the last seconds' look-ups tell; asks no database, so it never blocks."""
    return _known.get(_digest(secret))[1] if secret.startswith(PREFIX) and secret.isascii() else None


def _look_up(digest: bytes) -> tuple[Principal | None, float]:
    """The key's owner, and for how many seconds that may be believed."""
    with control_session() as connection:
        row = connection.execute(_LOOK_UP, {"digest": digest, "used": _USED_SECONDS}).first()
        if row is None:
            return None, CACHE_SECONDS
        if row.unnoted:
            # Nothing is lost if this is.
            connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
            connection.execute(_NOTE_USE, {"id": row.id})
    left = CACHE_SECONDS if row.seconds_left is None else min(CACHE_SECONDS, row.seconds_left)
    return Principal(str(row.tenant_id), row.tenant_name, str(row.id), row.name), left


class _Known:
    """What the last seconds' look-ups gave; of keys and of what is none apart, so that guesses push out no key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._good: OrderedDict[bytes, tuple[float, Principal | None]] = OrderedDict()
        self._bad: OrderedDict[bytes, tuple[float, Principal | None]] = OrderedDict()

    def get(self, digest: bytes) -> tuple[bool, Principal | None]:
        now = time.monotonic()
        with self._lock:
            found = self._good.get(digest) or self._bad.get(digest)
        return (True, found[1]) if found is not None and now < found[0] else (False, None)

    def put(self, digest: bytes, principal: Principal | None, seconds: float) -> None:
        entry = (time.monotonic() + seconds, principal)
        with self._lock:
            self._good.pop(digest, None)
            self._bad.pop(digest, None)
            kept = self._good if principal is not None else self._bad
            kept[digest] = entry
            while len(kept) > CACHED:
                kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._good.clear()
            self._bad.clear()


_known = _Known()


def _digest(secret: str) -> bytes:
    """256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def _is_uuid(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.lower()))


def _key(row: "sa.Row[tuple[object, ...]]") -> ApiKey:
    return ApiKey(
        id=str(row.id),
        tenant=str(row.tenant_id),
        name=row.name,
        prefix=row.prefix,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
