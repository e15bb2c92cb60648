"""Lines to records: quotes over lines understood, and a bad record never takes its neighbours with it."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nexusflow.connectors.csv.lines import Line

MAX_RECORD_CHARACTERS = 131_072
MAX_RECORD_LINES = 1_000
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Record:
    """The cells of one record that starts at a line, or what is wrong with it."""

    line: int
    cells: list[str]
    fault: str = ""


def guess_delimiter(header: str) -> str:
    """The likeliest delimiter of a header line: the one seen most often outside quotes, a comma where none is."""
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=lambda mark: (outside.count(mark), -DELIMITERS.index(mark)))


class Records:
    """The records in some lines. A quote that is never closed spoils its own line only: the next are read again."""

    def __init__(self, lines: Iterable[Line], delimiter: str = "") -> None:
        self._source = iter(lines)
        self._waiting: deque[Line] = deque()
        self.delimiter = delimiter

    def __iter__(self) -> Iterator[Record]:
        while (line := self._next_line()) is not None:
            if line.fault:
                yield Record(line.number, [line.text.rstrip("\n")], line.fault)
            elif line.text.strip():
                self.delimiter = self.delimiter or guess_delimiter(line.text)
                yield self._read_from(line)

    def _next_line(self) -> Line | None:
        return self._waiting.popleft() if self._waiting else next(self._source, None)

    def _read_from(self, first: Line) -> Record:
        used = [first]
        try:
            reader = csv.reader(self._texts(used), delimiter=self.delimiter, strict=True)
            return Record(first.number, next(reader))
        except (csv.Error, ValueError) as error:
            self._waiting.extendleft(reversed(used[1:]))
            return Record(first.number, [first.text.rstrip("\n")], _reason(str(error)))

    def _texts(self, used: list[Line]) -> Iterator[str]:
        size = len(used[0].text)
        yield used[0].text
        while (line := self._next_line()) is not None:
            used.append(line)
            size += len(line.text)
            if line.fault:
                raise ValueError(line.fault)
            if size > MAX_RECORD_CHARACTERS or len(used) > MAX_RECORD_LINES:
                raise ValueError("a quote is opened and not closed")
            yield line.text


def _reason(error: str) -> str:
    if "field larger" in error:
        return f"a cell is longer than {MAX_RECORD_CHARACTERS:,} characters"
    if "unexpected end" in error or "not closed" in error:
        return "a quote is opened and not closed"
    if "expected after" in error:
        return "there is text after a closing quote"
    return error
