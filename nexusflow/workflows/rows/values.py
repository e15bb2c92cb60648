"""Values of runs and steps: small ones stay in their row, large ones go to the storage and are named by a key.

A key stands in a column of its own (``input_at``, ``output_at``, ``items_at``), so no data can be taken for one.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from nexusflow import storage
from nexusflow.errors import Permanent
from nexusflow.settings import get_settings

CACHE_BYTES = 96 * 1024 * 1024
"""Of large values as Python's objects, taken for four times their JSON."""
_GROWTH = 4
V = TypeVar("V")


class RecentlyUsed(Generic[V]):
    """A thread-safe cache bounded by the bytes that its entries say they take, and by their number.

    Small entries take more than they say: keys, links, a hash table that doubles. ``most`` keeps that in bounds, too.
    """

    def __init__(self, limit: int, most: int = 20_000) -> None:
        self._limit, self._most, self._total = limit, most, 0
        self._entries: OrderedDict[Any, tuple[int, V]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> V | None:
        """The entry, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[1]

    def put(self, key: Any, value: V, size: int) -> None:
        """Keep the entry unless it alone is over the limit; the oldest make room."""
        with self._lock:
            if key in self._entries or size > self._limit:
                return
            self._entries[key] = (size, value)
            self._total += size
            while self._total > self._limit or len(self._entries) > self._most:
                self._total -= self._entries.popitem(last=False)[1][0]


@dataclass(frozen=True)
class Kept:
    """A large value by reference: loaded by whoever needs it, when it is needed."""

    tenant: str
    key: str

    @property
    def size(self) -> int:
        """The bytes of its JSON."""
        return storage.parse_key(self.key, self.tenant).size

    def load(self) -> Any:
        """The value. Raises Permanent VALUE_MISSING where it is gone, StorageAway."""
        return loaded(self.tenant, None, self.key)


_loaded: RecentlyUsed[tuple[Any]] = RecentlyUsed(CACHE_BYTES)
_loading = [threading.Lock() for _ in range(16)]


def stored(tenant: str, run_id: str, value: Any) -> tuple[str | None, str | None]:
    """A value for its row: its JSON and None, or, over ``inline_bytes``, None and the key under which it was kept.

    To be called with no transaction open. Raises StorageAway.
    """
    encoded = orjson.dumps(value)
    if len(encoded) <= get_settings().inline_bytes:
        return encoded.decode(), None
    return None, keep(tenant, run_id, encoded)


def kept_rows(tenant: str, run_id: str, rows: list[dict[str, Any]]) -> bytes:
    """Records as one JSON list, with what is large in ``output`` and ``items`` kept and named by ``…_at`` instead.

    Where all of it together is small, as nearly always, it is encoded once and that is all. Raises StorageAway.
    """
    encoded = orjson.dumps(rows)
    if len(encoded) <= get_settings().inline_bytes and not any(isinstance(row["output"], Kept) for row in rows):
        return encoded
    return orjson.dumps([_kept_row(tenant, run_id, row) for row in rows])


def _kept_row(tenant: str, run_id: str, row: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name in ("output", "items"):
        value = row[name]
        if isinstance(value, Kept):
            changed |= {name: None, f"{name}_at": value.key}
        elif value is not None:
            inline, key = stored(tenant, run_id, value)
            changed |= {name: orjson.Fragment(inline)} if inline is not None else {name: None, f"{name}_at": key}
    return row | changed


def keep(tenant: str, run_id: str, encoded: bytes) -> str:
    """Put a value's JSON into the storage under its run, and give its key. Raises StorageAway."""
    return storage.put(tenant, run_id, encoded)


def loaded(tenant: str, inline: Any, key: str | None) -> Any:
    """The value of a row: what stands there, or what its key names; not to be changed by the caller.

    Raises Permanent VALUE_MISSING, StorageAway.
    """
    try:
        return read(tenant, inline, key)
    except storage.ObjectMissing as missing:
        raise Permanent(
            "VALUE_MISSING",
            f"A recorded value cannot be read: {missing.message[0].lower()}{missing.message[1:]}",
            missing.hint,
            cause="platform",
        ) from missing


def read(tenant: str, inline: Any, key: str | None) -> Any:
    """Like ``loaded``, for readers outside a step. Raises ObjectMissing, StorageAway."""
    if key is None:
        return inline
    found = _loaded.get((tenant, key))
    if found is None:
        with _loading[hash(key) % len(_loading)]:  # many threads may want the same one at once
            found = _loaded.get((tenant, key))
            if found is None:
                encoded = storage.get(tenant, key)
                found = (orjson.loads(encoded),)
                _loaded.put((tenant, key), found, _GROWTH * len(encoded) + 200)
    return found[0]


def reference(tenant: str, inline: Any, key: str | None) -> Any:
    """The value of a row, a large one as a ``Kept``."""
    return inline if key is None else Kept(tenant, key)


def resolved(value: Any) -> Any:
    """The value, loaded if it is a ``Kept``. Raises Permanent VALUE_MISSING, StorageAway."""
    return value.load() if isinstance(value, Kept) else value


def shown(tenant: str, inline: Any, key: str | None) -> Any:
    """The value of a row for people: a large one as a note."""
    return inline if key is None else note(tenant, key)


def whole(tenant: str, inline: Any, key: str | None) -> Any:
    """The value of a row for people, a large one too; as a note where it is gone. Raises StorageAway."""
    try:
        return read(tenant, inline, key)
    except storage.ObjectMissing:
        return note(tenant, key or "") | {"missing": True}


def note(tenant: str, key: str) -> dict[str, Any]:
    """What is shown in a large value's place: how large it is, and its hash."""
    parsed = storage.parse_key(key, tenant)
    return {"$large": {"bytes": parsed.size, "sha256": parsed.digest}}
