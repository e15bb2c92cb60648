"""What of the pages is not run, and whether the comparison can tell a difference."""

from collections import Counter

import pytest

from tests.acceptance.docs.blocks import PAGES, PageIsOdd, parse, read_blocks
from tests.acceptance.docs.shown import agrees, begins

NOT_RUN = {
    ("running", "needs an administrator of the database server"): 1,
    ("running", "needs an administrator of the broker"): 1,
    ("running", "needs systemd and an administrator"): 2,
    ("running", "needs a bucket"): 1,
    ("operating", "needs psql"): 1,
}
"""The blocks that are left out of the test, and why."""


def test_every_block_is_run_or_says_why_not() -> None:
    blocks = [block for page in PAGES for block in read_blocks(page)]
    skipped = Counter((block.page, block.mark("not run: ")) for block in blocks if block.kind == "skipped")
    assert skipped == NOT_RUN
    for page in PAGES:
        assert sum(block.kind == "command" for block in read_blocks(page)) > 3, f"{page} shows no commands"


def test_every_picture_says_what_made_it() -> None:
    for page in PAGES:
        for block in read_blocks(page):
            assert (block.kind == "picture") == bool(block.mark("nexusflow compile ")), block


def test_a_block_that_no_rule_covers_is_refused() -> None:
    (block,) = parse("page", "```yaml\nsteps: []\n```\n")
    with pytest.raises(PageIsOdd):
        _ = block.kind
    with pytest.raises(PageIsOdd):
        list(parse("page", "<!-- not ran: it is late -->\n```sh\nls\n```\n"))


def test_marks_file_names_and_places() -> None:
    text = (
        "One\n\n<!-- exits with 2 -->\n```sh\nls\n```\n\n```yaml\n# a.yaml\nx: 1\n```\n<!-- else -->\n\n```text\n```\n"
    )
    command, file, output = parse("page", text)
    assert (str(command), command.exit_code, command.kind) == ("docs/page.md:4", 2, "command")
    assert (file.kind, file.file_name) == ("file", "a.yaml")
    assert (output.kind, output.marks) == ("output", ())


@pytest.mark.parametrize(
    ("shown", "printed", "language", "same"),
    [
        ("a …\n", "\x1b[1ma  b\x1b[0m\n\n", "text", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", "text", True),
        ("a\n…\n", "a\n", "text", True),
        ("a\n", "a\nb\n", "text", False),
        ("a\nb\n", "a\n", "text", False),
        ('{"a": "…", "b": 1}', '{"a":"x y","b":1}', "json", True),
        ('{"a": "…", "b": 1}', '{"a":null,"b":1}', "json", False),
        ('{"a": {"b": …}, …}', '{"a":{"b":[1,{"c":2}]},"d":3}', "json", True),
        ('{"a": 1, …}', '{"a":1}', "json", True),
        ('{"a": 1}', '{"a":1,"b":2}', "json", False),
        ('["…"]', "oh no", "json", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, printed: str, language: str, same: bool) -> None:
    assert agrees(shown, printed, language) == same


def test_what_has_begun_may_go_on() -> None:
    assert begins("ready\n", "ready\nand more\n")
    assert not begins("ready\n", "not yet\n")
