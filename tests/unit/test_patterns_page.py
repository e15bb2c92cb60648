"""The page of control-flow patterns tells of all 43, and shows the workflows that the corpus runs."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKER = runpy.run_path(str(ROOT / "docs/make_patterns.py"))
PAGE: Path = MAKER["PAGE"]


def _numbers(text: str) -> set[int]:
    found = set()
    for first, last in re.findall(r"(\d+)(?:–(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_the_workflows_are_those_that_run() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == MAKER["redrawn"](text), "run python docs/make_patterns.py"


def test_all_43_are_told() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = {int(number) for number in re.findall(r"^### (\d+)\. ", text, re.M)}
    assert shown == {int(number) for _, number in MAKER["BLOCK"].findall(text)}
    run = {int(path.name.split("-")[2]) for path in (ROOT / "tests/corpus").glob("valid-pattern-*.yaml")}
    assert shown == run
    (written,) = re.findall(r"\| written as here \| (.*?) \|", text)
    (missing,) = re.findall(r"\(#what-is-left-out\) \| (.*?) \|", text)
    assert _numbers(written) == shown
    assert _numbers(missing) == set(range(1, 44)) - shown
    (left_out,) = re.findall(r"## What is left out\n(.*)", text, re.S)
    assert _numbers("".join(re.findall(r"(\d+(?:–\d+)?)\. ", left_out))) <= set(range(1, 44)) - shown
