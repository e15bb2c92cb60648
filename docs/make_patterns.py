"""Writes the workflows of tests/corpus/valid-pattern-*.yaml into docs/patterns.md: ``python docs/make_patterns.py``.

Behind ``<!-- pattern: NUMBER -->`` stands the workflow of that number, from its third line on.
"""

import re
from pathlib import Path

import yaml

PAGE = Path(__file__).with_name("patterns.md")
CORPUS = PAGE.parents[1] / "tests/corpus"
BLOCK = re.compile(r"(<!-- pattern: (\d+) -->\n```yaml\n).*?(?=^```$)", re.M | re.S)


def workflow(number: str) -> str:
    """A pattern's workflow as its author wrote it, without its first words."""
    (path,) = CORPUS.glob(f"valid-pattern-{int(number):02}-*.yaml")
    definition: str = yaml.safe_load(path.read_text(encoding="utf-8"))["definition"]
    return re.split(r"^name: .*\n", definition, maxsplit=1, flags=re.M)[1]


def redrawn(page: str) -> str:
    """The page's text with its workflows as they are now."""
    return BLOCK.sub(lambda found: found[1] + workflow(found[2]), page)


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
