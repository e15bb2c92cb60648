"""Reading an answer's body: bounded in size, unpacked, and made a JSON value, text or base64."""

import base64
import zlib
from collections.abc import Iterable
from email.message import Message
from typing import Any, Literal, cast

import httpcore2
import orjson

from nexusflow.errors import Permanent

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 100
ANY_ZLIB = zlib.MAX_WBITS | 32

Encoding = Literal["json", "text", "base64", "none"]


def read_bounded(response: httpcore2.Response, packing: str, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body, unpacked; raises Permanent HTTP_BODY_TOO_LARGE as soon as it is over ``limit`` bytes."""
    if packing.strip().lower() not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Permanent("HTTP_BODY_INVALID", f"The answer is packed as '{packing[:50]}'.", cause="provider")
    unpacker = zlib.decompressobj(ANY_ZLIB) if packing.strip().lower() not in ("", "identity") else None
    parts: list[bytes] = []
    size = 0
    for part in cast(Iterable[bytes], response.stream):
        if unpacker is not None:
            try:
                # One byte more than allowed is enough to know: a bomb is never unpacked.
                part = unpacker.decompress(part, limit + 1 - size)  # noqa: PLW2901
            except zlib.error as error:
                raise Permanent("HTTP_BODY_INVALID", f"The answer is damaged: {error}.", cause="provider") from None
        size += len(part)
        if size > limit:
            raise Permanent(
                "HTTP_BODY_TOO_LARGE", f"The answer is longer than {limit:,} bytes.", "Ask for less, page by page."
            )
        parts.append(part)
    return b"".join(parts)


def decode_body(content: bytes, content_type: str, *, strict: bool) -> tuple[Any, Encoding]:
    """The body by its content type.

    Raises Permanent HTTP_BODY_INVALID for JSON that is none and HTTP_BODY_TOO_DEEP for JSON nested deeper than a value
    may be; with ``strict`` off (an error's body) both stay text.
    """
    if not content:
        return None, "none"
    header = Message()
    header["content-type"] = content_type or "application/octet-stream"
    kind = header.get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return _decode_json(content), "json"
        except Permanent:
            if strict:
                raise
            return content.decode("utf-8", "replace"), "text"
    charset = header.get_content_charset("utf-8")
    if kind.startswith("text/") or kind in _TEXTUAL or header.get_content_charset():
        try:
            return content.decode(charset), "text"
        except (UnicodeDecodeError, LookupError):
            pass
    return base64.b64encode(content).decode("ascii"), "base64"


def _decode_json(content: bytes) -> Any:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Permanent(
            "HTTP_BODY_INVALID", f"The answer is no JSON, though it says so: {error}.", cause="provider"
        ) from None
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise Permanent(
            "HTTP_BODY_TOO_DEEP", f"The answer is JSON nested more than {MAX_DEPTH} levels deep.", cause="provider"
        )
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Level by level, since recursion is what a deep value breaks."""
    level = [value]
    for _ in range(levels + 1):
        level = [each for each in level if isinstance(each, (dict, list))]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return True


_TEXTUAL = frozenset(
    {"application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/x-ndjson"}
)
