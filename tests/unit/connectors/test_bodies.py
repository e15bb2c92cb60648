"""Reading answers' bodies within a limit."""

import gzip
import tracemalloc
import zlib

import httpcore2
import orjson
import pytest

from nexusflow.connectors.http.bodies import MAX_DEPTH, decode_body, read_bounded
from nexusflow.errors import Permanent


def answer(*parts: bytes) -> httpcore2.Response:
    return httpcore2.Response(200, content=iter(parts))


def test_a_bomb_is_never_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(Permanent, match="HTTP_BODY_TOO_LARGE"):
            read_bounded(answer(bomb), "gzip", limit=10_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [9_999, 10_000])
def test_a_body_up_to_the_limit_is_whole(size: int) -> None:
    content = bytes(range(256)) * 40
    packed = gzip.compress(content[:size])
    assert read_bounded(answer(packed[:7], packed[7:]), "GZIP", limit=10_000) == content[:size]
    assert read_bounded(answer(content[:5], content[5:size]), "", limit=10_000) == content[:size]
    assert read_bounded(answer(zlib.compress(content[:size])), "deflate", limit=10_000) == content[:size]


@pytest.mark.parametrize(("content", "packing"), [(b"no gzip", "gzip"), (b"x", "br")])
def test_what_cannot_be_unpacked_is_said(content: bytes, packing: str) -> None:
    with pytest.raises(Permanent, match="HTTP_BODY_INVALID"):
        read_bounded(answer(content), packing)


def test_an_errors_broken_json_stays_text_and_a_wrong_charset_becomes_base64() -> None:
    assert decode_body(b"{", "application/problem+json", strict=False) == ("{", "text")
    assert decode_body(b"\xff", "text/plain; charset=utf-8", strict=True) == ("/w==", "base64")
    assert decode_body(b"\xff", "text/plain; charset=klingon", strict=True) == ("/w==", "base64")
    assert decode_body(b"", "application/json", strict=True) == (None, "none")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[1,{"a":', "}]")])
def test_json_may_be_nested_to_a_limit(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    allowed = (MAX_DEPTH - 1) // levels
    content = ('{"wide": [[], {}], "deep": ' + opening * allowed + "5" + closing * allowed + "}").encode()
    assert decode_body(content, "application/json", strict=True) == (orjson.loads(content), "json")
    deeper = content.replace(b"5", (opening + "5" + closing).encode())
    with pytest.raises(Permanent, match="HTTP_BODY_TOO_DEEP") as caught:
        decode_body(deeper, "application/json", strict=True)
    assert caught.value.cause == "provider"
    assert decode_body(deeper, "application/json", strict=False) == (deeper.decode(), "text")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert decode_body(b"[" + b"[]," * 5_000 + b"{}]", "application/json", strict=True)[1] == "json"
