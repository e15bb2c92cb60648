"""A request that comes twice under one key is done once, and answered the same both times.

The key's row is written in the transaction of the work itself: both are there, or neither.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import orjson
import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import Conflict, InvalidInput

MAX_KEY = 255

# A twin under way holds the row: the insert waits for its end, then finds the row, or the way free.
_TAKE = sa.text(
    "INSERT INTO idempotency_keys (tenant_id, key, fingerprint) VALUES (:tenant, :key, :fingerprint)"
    " ON CONFLICT DO NOTHING RETURNING true"
)
_KEEP = sa.text("UPDATE idempotency_keys SET answer = CAST(:answer AS jsonb) WHERE key = :key")
_FIND = sa.text("SELECT fingerprint, answer FROM idempotency_keys WHERE key = :key")


def fingerprint(operation: str, *parts: Any) -> str:
    """What a request asks for, as a digest: the operation, what it is done to, and its body. Raises InvalidInput."""
    try:
        asked = orjson.dumps([operation, *parts], option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidInput(
            f"The request is no plain JSON: {error}.", "Give text, numbers, lists and objects."
        ) from None
    return hashlib.sha256(asked).hexdigest()


def check_key(key: str) -> str:
    """The key, if it can be one. Raises InvalidInput."""
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidInput(
            "The Idempotency-Key cannot be used.", f"Give 1 to {MAX_KEY} printable characters, such as a UUID."
        )
    return key


def recall(connection: sa.Connection, key: str, mark: str) -> dict[str, Any] | None:
    """The answer kept under a key, or None where there is none. Raises Conflict for another request's."""
    found = connection.execute(_FIND, {"key": key}).first()
    if found is None or found.answer is None:
        return None
    if found.fingerprint != mark:
        raise Conflict(
            "IDEMPOTENCY_KEY_REUSED",
            "This Idempotency-Key came before, with another request.",
            "Take a new key for each request, and the same one only to send a request again.",
        )
    answer: dict[str, Any] = found.answer
    return answer


def once(
    connection: sa.Connection, tenant: str, key: str, mark: str, work: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """Do a work once per key, in this transaction: its answer, and whether it is that of an earlier request.

    ``mark``: the request's ``fingerprint``. Raises Conflict, and whatever ``work`` raises (the key is then free again,
    with the transaction).
    """
    check_key(key)
    taken = connection.execute(_TAKE, {"tenant": tenant, "key": key, "fingerprint": mark}).first()
    if taken is None:
        answer = recall(connection, key, mark)
        if answer is not None:
            return answer, True
        raise Conflict(
            "IDEMPOTENCY_KEY_REUSED", "The request under this key has just been forgotten.", "Send it again."
        )
    answer = work()
    connection.execute(_KEEP, {"key": key, "answer": orjson.dumps(answer, default=str).decode()})
    return answer, False


def answer_of_many(
    tenant: str, key: str | None, mark: str, work: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """``once`` for a work of many transactions, each of which is done once by a key of its own (``part_of_key``).

    A work that broke off is taken up where it was, by the next request under its key.
    """
    if key is None:
        return work(), False
    check_key(key)
    with tenant_session(tenant) as connection:
        answer = recall(connection, key, mark)
    if answer is not None:
        return answer, True
    done = work()
    with tenant_session(tenant) as connection:
        return once(connection, tenant, key, mark, lambda: done)


def part_of_key(key: str | None, part: str) -> str | None:
    """The key of one part of a work of many."""
    return None if key is None else "part:" + hashlib.sha256(f"{key}\n{part}".encode()).hexdigest()


def answer_once(
    tenant: str, key: str | None, mark: str, work: Callable[[sa.Connection], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """``once`` in a transaction of its own, which ``work`` gets; without a key it is simply done."""
    if key is not None:
        check_key(key)
    with tenant_session(tenant) as connection:
        if key is None:
            return work(connection), False
        return once(connection, tenant, key, mark, lambda: work(connection))
