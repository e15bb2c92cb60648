"""Draws docs/images/joins.svg, which joins run and which are blocked: ``python docs/make_joins.py``."""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from nexusflow.workflows.rows.states import join_met

PICTURE = Path(__file__).with_name("images") / "joins.svg"
JOINS: dict[str, Any] = {
    "all_success": "all_success",
    "all_done": "all_done",
    "any_success": "any_success",
    "{n: 2}": {"n": 2},
}
ENDS = {"succeeded": ("#16a34a", "✓"), "skipped": ("#94a3b8", "–"), "failed": ("#dc2626", "✕")}
LEFT, TOP, ROW, COLUMN, DOT = 40, 96, 40, 118, 36
WIDTH = LEFT + 3 * DOT + 60 + len(JOINS) * COLUMN


def cases() -> list[tuple[str, ...]]:
    """How three needs can end, their order aside."""
    return list(combinations_with_replacement(ENDS, 3))


def picture() -> str:
    """The SVG: a row a case, a column a join."""
    height = TOP + len(cases()) * ROW + 12
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                'font-family="system-ui, sans-serif" font-size="14" text-anchor="middle" role="img">'
            ),
            "<title>When a join lets a step run, by how its three needs ended</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#ffffff" stroke="#cbd5e1"/>',
            *_legend(),
            *_heads(),
            *(line for number, case in enumerate(cases()) for line in _row(TOP + number * ROW + ROW // 2, case)),
            "</svg>\n",
        ]
    )


def _legend() -> Iterator[str]:
    x = LEFT
    for end, (colour, sign) in ENDS.items():
        yield from _dot(x, 30, colour, sign)
        yield f'<text x="{x + 18}" y="35" text-anchor="start" fill="#334155">{end}</text>'
        x += 120


def _heads() -> Iterator[str]:
    yield f'<text x="{LEFT + DOT}" y="80" fill="#334155">the three needs</text>'
    for number, name in enumerate(JOINS):
        yield f'<text x="{_middle(number)}" y="80" fill="#0f172a" font-family="monospace">{name}</text>'


def _row(y: int, case: tuple[str, ...]) -> Iterator[str]:
    yield f'<line x1="20" x2="{WIDTH - 20}" y1="{y - ROW // 2}" y2="{y - ROW // 2}" stroke="#e2e8f0"/>'
    for number, end in enumerate(case):
        yield from _dot(LEFT + number * DOT, y, *ENDS[end])
    yield f'<text x="{LEFT + 3 * DOT}" y="{y + 5}" fill="#64748b">→</text>'
    for number, join in enumerate(JOINS.values()):
        runs = join_met(join, case)
        fill, ink, word = ("#dcfce7", "#052e16", "runs") if runs else ("#f1f5f9", "#64748b", "blocked")
        x = _middle(number)
        yield f'<rect x="{x - 42}" y="{y - 14}" width="84" height="28" rx="14" fill="{fill}"/>'
        yield f'<text x="{x}" y="{y + 5}" fill="{ink}">{word}</text>'


def _dot(x: int, y: int, colour: str, sign: str) -> Iterator[str]:
    yield f'<circle cx="{x}" cy="{y}" r="12" fill="{colour}"/>'
    yield f'<text x="{x}" y="{y + 5}" fill="#ffffff" font-weight="bold">{sign}</text>'


def _middle(number: int) -> int:
    return LEFT + 3 * DOT + 60 + number * COLUMN + COLUMN // 2 - 20


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
