"""A file's physical lines as text: any line end, a BOM understood, cp1252 where a line is no UTF-8."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from nexusflow.errors import Permanent

CHUNK_BYTES = 65_536
MAX_LINE_BYTES = 262_144
LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Line:
    """One physical line: its number from 1, its text with a ``\\n`` at its end, and what is wrong with it."""

    number: int
    text: str
    fault: str = ""


class Lines:
    """The lines of a byte stream. After reading, ``encoding`` says what they were: ``utf-8+cp1252`` when mixed.

    ``encoding`` given as "auto" looks for a BOM, then takes each line as UTF-8, or as cp1252 where it is not:
    tables glued together from several programs are common.
    """

    def __init__(self, stream: BinaryIO, encoding: str = "auto") -> None:
        self._stream = stream
        self._asked = encoding
        self._seen: set[str] = set()
        self._fixed = ""

    @property
    def encoding(self) -> str:
        """What the lines read so far were encoded in."""
        return self._fixed or "+".join(sorted(self._seen, reverse=True)) or "utf-8"

    def __iter__(self) -> Iterator[Line]:
        for number, (content, complete) in enumerate(self._split(self._utf8_chunks()), start=1):
            if not complete:
                yield Line(number, "", f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            else:
                yield self._decode(number, content)

    def _decode(self, number: int, content: bytes) -> Line:
        fault = "the line holds a NUL byte" if b"\0" in content else ""
        try:
            text = content.decode("utf-8")
            if not content.isascii():
                self._seen.add("utf-8")
        except UnicodeDecodeError:
            self._seen.add("cp1252")
            text = content.decode("cp1252", "replace")
            if "\ufffd" in text:
                fault = fault or "the line is neither UTF-8 nor cp1252"
        return Line(number, text + "\n", fault)

    def _utf8_chunks(self) -> Iterator[bytes]:
        first = self._stream.read(CHUNK_BYTES)
        name = self._asked
        if name == "auto":
            name = next((found for mark, found in BOMS if first.startswith(mark)), "")
        if name in ("", "utf-8-sig"):
            self._fixed = name
            yield first.removeprefix(codecs.BOM_UTF8) if name else first
            yield from iter(lambda: self._stream.read(CHUNK_BYTES), b"")
            return
        self._fixed = name
        try:
            decoder = codecs.getincrementaldecoder(name)()
            chunk = first
            while chunk:
                yield decoder.decode(chunk).encode("utf-8")
                chunk = self._stream.read(CHUNK_BYTES)
            yield decoder.decode(b"", final=True).encode("utf-8")
        except LookupError:
            raise Permanent("CSV_ENCODING", f"There is no encoding '{name[:50]}'.", "utf-8, cp1252, utf-16 …") from None
        except UnicodeError as error:
            reason = getattr(error, "reason", "bytes that mean nothing")
            raise Permanent(
                "CSV_ENCODING", f"The file is not {name}: {reason}.", "Save it as UTF-8, or leave encoding out."
            ) from None

    @staticmethod
    def _split(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
        rest = b""
        overlong = False
        for chunk in chunks:
            rest += chunk
            start = 0
            for end in LINE_END.finditer(rest):
                yield (rest[start : end.start()], True) if not overlong else (b"", False)
                overlong = False
                start = end.end()
            rest = rest[start:]
            if len(rest) > MAX_LINE_BYTES:
                rest, overlong = rest[-1:], True
        rest = rest.removesuffix(b"\r")
        if rest or overlong:
            yield (rest, True) if not overlong else (b"", False)
