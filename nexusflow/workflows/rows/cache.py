"""What steps with ``cache`` gave lately, by what they were given: a tenant's own, for as long as the step says."""

import hashlib
from typing import Any

import orjson

from nexusflow.db.session import AWAY, tenant_pipeline
from nexusflow.errors import ClusterUnusable
from nexusflow.log import get_logger
from nexusflow.settings import get_settings

log = get_logger(__name__)

FIND = "SELECT output FROM cached_outputs WHERE digest = %(digest)s AND expires_at > now()"
KEEP = """
INSERT INTO cached_outputs (tenant_id, digest, output, expires_at)
VALUES (%(tenant)s, %(digest)s, %(output)s::jsonb, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (tenant_id, digest) DO UPDATE
    SET output = excluded.output, made_at = now(), expires_at = excluded.expires_at
"""


def digest_of(action: str, connection: str, given: Any) -> bytes:
    """What a call is known by: its action, its connection, and what it is given."""
    asked = orjson.dumps([action, connection, given], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(asked).digest()


def find_output(tenant: str, digest: bytes) -> tuple[Any] | None:
    """The output of such a call, wrapped (it may be null); None where there is none, or the database is away."""
    try:
        with tenant_pipeline(tenant) as pipeline:
            pipeline.begin()
            found = pipeline.run(FIND, {"digest": digest})
        row = found.fetchone()
    except (*AWAY, ClusterUnusable) as error:
        log.warning("cache.away", error=str(error))
        return None
    return None if row is None else (row[0],)


def keep_output(tenant: str, digest: bytes, output: Any, seconds: float) -> None:
    """Keep a call's output for so long, unless it is large; what cannot be kept now is not."""
    encoded = orjson.dumps(output)
    if len(encoded) > get_settings().inline_bytes:
        return
    asked = {"tenant": tenant, "digest": digest, "output": encoded.decode(), "seconds": seconds}
    try:
        with tenant_pipeline(tenant) as pipeline:
            pipeline.begin(synchronous=False)
            pipeline.run(KEEP, asked)
    except (*AWAY, ClusterUnusable) as error:
        log.warning("cache.away", error=str(error))
