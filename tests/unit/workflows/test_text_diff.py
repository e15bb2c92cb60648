"""Diffs that patch applies, of texts of every length, in a bearable time."""

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from nexusflow.workflows.saved import text_diff
from nexusflow.workflows.saved.text_diff import unified

ENDS = ["", "", "", "\u2028", "\x0b"]


def texts(seed: int) -> tuple[str, str]:
    """Two texts that share many lines, some of them often."""
    chance = random.Random(seed)
    a = [f"{chance.randrange(30)}{chance.choice(ENDS)}" for _ in range(chance.randrange(60))]
    b = list(a)
    for _ in range(chance.randrange(8)):
        at = chance.randrange(len(b) + 1)
        b[at : at + chance.randrange(4)] = [f"{chance.randrange(60)}" for _ in range(chance.randrange(4))]
    return "\n".join(a) + chance.choice(["", "\n"]), "\n".join(b) + chance.choice(["", "\n"])


@pytest.mark.parametrize("small", [0, 10, 600])
def test_patch_makes_the_one_text_of_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: int) -> None:
    patch = shutil.which("patch")
    if patch is None:
        pytest.skip("there is no patch on this machine")
    monkeypatch.setattr(text_diff, "SMALL", small)
    for seed in range(25):
        before, after = texts(seed)
        (tmp_path / "file").write_text(before)
        diff = "".join(unified(before, after, "file", "file"))
        if diff:
            subprocess.run([patch, "-s", "file"], input=diff, text=True, check=True, cwd=tmp_path)
        assert (tmp_path / "file").read_text() == after, seed


def test_two_small_changes_in_a_long_text_are_two_small_hunks() -> None:
    lines = [f"line {n}\n" for n in range(20_000)]
    changed = [*lines[:5], "new\n", *lines[6:19_000], *lines[19_001:]]
    diff = list(unified("".join(lines), "".join(changed), "a", "b"))
    assert [line for line in diff if line[0] in "+-@"][2:] == [
        "@@ -3,7 +3,7 @@\n",
        "-line 5\n",
        "+new\n",
        "@@ -18998,7 +18998,6 @@\n",
        "-line 19000\n",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([f"{n % 110}" for n in range(40_000)], [f"{n * 7 % 110}" for n in range(40_000)]),
        ([f"{n}" for n in range(40_000)], [f"{n ^ 1}" for n in range(40_000)]),
        ([f"{n}" for n in range(40_000)], [f"{n}" if n % 2 else "x" for n in range(40_000)]),
        ([f"{n}" for n in range(40_000)], [f"{n}" for n in reversed(range(40_000))]),
        ([""] * 500_000, ["a", *[""] * 400_000, "b"]),
    ],
    ids=["repeated", "swapped", "every second", "reversed", "empty lines"],
)
def test_no_text_takes_long(before: list[str], after: list[str]) -> None:
    began = time.monotonic()
    assert sum(1 for _ in unified("\n".join(before), "\n".join(after), "a", "b")) > 0
    assert time.monotonic() - began < 5
