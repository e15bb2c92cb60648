"""A unified diff of two texts, in a time that grows with their length alone (*pure*).

Python's own difflib takes a time that grows with its square, and more for texts made to that end. So long texts are
first cut at the lines that each of them has once, in the same order (as patience diff does).
"""

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

SMALL = 600
"""Lines, of both texts together, that difflib compares in milliseconds whatever they are."""
CONTEXT = 3

Change = tuple[str, int, int, int, int]
"""As difflib has it: what, from where to where in the one text, and in the other."""


def unified(before: str, after: str, from_name: str, to_name: str) -> Iterator[str]:
    """The lines of the diff; none where the texts are the same."""
    a, b = _lines(before), _lines(after)
    groups = list(_Compared(a, b).get_grouped_opcodes(CONTEXT)) if before != after else []
    if groups:
        yield f"--- {from_name}\n"
        yield f"+++ {to_name}\n"
    for group in groups:
        (_, a_low, _, b_low, _), (_, _, a_high, _, b_high) = group[0], group[-1]
        yield f"@@ -{_range(a_low, a_high)} +{_range(b_low, b_high)} @@\n"
        for tag, low, high, other_low, other_high in group:
            if tag == "equal":
                yield from _signed(" ", a[low:high])
            else:
                yield from _signed("-", a[low:high])
                yield from _signed("+", b[other_low:other_high])


def _lines(text: str) -> list[str]:
    """As patch counts them: only a line feed ends one."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def _range(low: int, high: int) -> str:
    """Lines as a hunk's head names them: counted from 1, and of none the line before."""
    length = high - low
    return f"{low + 1}" if length == 1 else f"{low + 1 if length else low},{length}"


def _signed(sign: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"


class _Compared(difflib.SequenceMatcher[str]):
    """difflib's grouping of changes, with our own way to find them."""

    def __init__(self, a: Sequence[str], b: Sequence[str]) -> None:
        super().__init__(None, (), ())
        self._changes = list(_merged(_compare(a, b, 0, len(a), 0, len(b))))

    def get_opcodes(self) -> list[Change]:  # type: ignore[override]  # the same five, not named
        return self._changes


def _compare(a: Sequence[str], b: Sequence[str], a_low: int, a_high: int, b_low: int, b_high: int) -> Iterator[Change]:
    start = 0
    while a_low + start < a_high and b_low + start < b_high and a[a_low + start] == b[b_low + start]:
        start += 1
    end = 0
    while a_high - end > a_low + start and b_high - end > b_low + start and a[a_high - end - 1] == b[b_high - end - 1]:
        end += 1
    yield "equal", a_low, a_low + start, b_low, b_low + start
    yield from _compare_differing(a, b, a_low + start, a_high - end, b_low + start, b_high - end)
    yield "equal", a_high - end, a_high, b_high - end, b_high


def _compare_differing(
    a: Sequence[str], b: Sequence[str], a_low: int, a_high: int, b_low: int, b_high: int
) -> Iterator[Change]:
    if a_high - a_low + b_high - b_low <= SMALL:
        matcher = difflib.SequenceMatcher(None, a[a_low:a_high], b[b_low:b_high])
        for tag, i, j, k, m in matcher.get_opcodes():
            yield tag, a_low + i, a_low + j, b_low + k, b_low + m
        return
    anchors = _anchors(a[a_low:a_high], b[b_low:b_high])
    if not anchors:
        yield "replace", a_low, a_high, b_low, b_high
        return
    at, other_at = a_low, b_low
    for i, k in anchors:
        yield from _compare(a, b, at, a_low + i, other_at, b_low + k)
        at, other_at = a_low + i, b_low + k
    yield from _compare(a, b, at, a_high, other_at, b_high)


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Lines that both have once, as many as there are in the same order."""
    once, counts = Counter(a), Counter(b)
    places = {line: number for number, line in enumerate(b) if counts[line] == 1}
    pairs = [(i, places[line]) for i, line in enumerate(a) if once[line] == 1 and line in places]
    ends: list[int] = []  # of the best row of each length: its last place in b
    last: list[int] = []  # and which pair that is
    before: list[int] = []
    for number, (_, k) in enumerate(pairs):
        length = bisect_left(ends, k)
        ends[length : length + 1] = [k]
        last[length : length + 1] = [number]
        before.append(last[length - 1] if length else -1)
    row, number = [], last[-1] if last else -1
    while number >= 0:
        row.append(pairs[number])
        number = before[number]
    return row[::-1]


def _merged(changes: Iterator[Change]) -> Iterator[Change]:
    """Without empty ones, equal lines that follow each other as one."""
    kept: Change | None = None
    for change in changes:
        tag, low, high, other_low, other_high = change
        if low == high and other_low == other_high:
            continue
        if kept is not None and kept[0] == tag == "equal":
            kept = (tag, kept[1], high, kept[3], other_high)
            continue
        if kept is not None:
            yield kept
        kept = change
    if kept is not None:
        yield kept
