"""One clone for all pages, and in it one ``nexusflow up``, started as the quick start says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.docs.blocks import read_blocks
from tests.acceptance.docs.clone import environment, make_clone
from tests.acceptance.docs.reader import UP, wait_for
from tests.acceptance.docs.terminal import Staying


@pytest.fixture(scope="package")
def clone() -> Path:
    return make_clone()


@pytest.fixture(scope="package")
def up(clone: Path) -> Iterator[Staying]:
    """The quick start's ``nexusflow up``: it stays for the pages that build on it, and ends on Ctrl-C."""
    blocks = read_blocks("quickstart")
    place = next(place for place, block in enumerate(blocks) if block.text == UP)
    staying = Staying(blocks[place].text, clone, environment(clone))
    try:
        wait_for(staying, blocks[place + 1])
        yield staying
    finally:
        staying.stop()
