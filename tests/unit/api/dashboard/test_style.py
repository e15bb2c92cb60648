"""The sheet's colours can be read, in light and in dark; the page has nothing inline for its policy to refuse."""

import re
from itertools import product
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[4] / "api/dashboard"
SHEET = (FOLDER / "assets/style.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in re.findall(r":root \{(.*?)\}", SHEET, re.S)
)
PAIRS = [
    *product(("ink", "soft", "link", "bad", "good"), ("ground", "card")),
    *((tone, f"{tone}-wash") for tone in ("good", "bad", "busy", "wait", "idle")),
    ("ink", "wash"),
    ("soft", "wash"),
    ("accent-ink", "accent"),
    ("ground", "ink"),
]


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(colours: dict[str, str]) -> None:
    weak = {}
    for text, ground in PAIRS:
        bright, dim = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        if (bright + 0.05) / (dim + 0.05) < 4.5:
            weak[text, ground] = round((bright + 0.05) / (dim + 0.05), 2)
    assert weak == {}


def test_templates_have_no_inline_script_or_style_and_switch_no_escaping_off() -> None:
    for path in (FOLDER / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:|<script(?![^>]*\ssrc=)", text), path
        assert "|safe" not in text.replace(" ", ""), path
        assert "autoescape" not in text, path
