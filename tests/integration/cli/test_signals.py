"""``nexusflow signals``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]


def test_a_signal_that_nobody_waits_for_is_kept_and_shown(nexusflow: Nexusflow, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"amount": 28.5}')
    said = nexusflow("signals", "send", "cli.paid", "--key", "o-1", "--data", "@data.json")
    assert (said.code, said.out) == (0, "")
    assert "is kept: no run waits for cli.paid yet" in said.err
    (listed,) = nexusflow("signals", "list", "--name", "cli.paid", "--json").json
    assert (listed["state"], listed["key"], "data" in listed) == ("kept", "o-1", False)
    assert nexusflow("signals", "show", listed["id"], "--json").json["data"] == {"amount": 28.5}
    shown = nexusflow("signals", "show", listed["id"]).out
    for told in ("cli.paid o-1", "kept", "Kept until", "28.5"):
        assert told in shown
    table = nexusflow("signals", "list", "--state", "kept", "--key", "o-1").out
    assert table.splitlines()[0].split() == ["Received", "Signal", "State", "Event", "Key", "Delivered", "to"]
    assert listed["id"] in table


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("text", "text"), ('{"a": [1]}', {"a": [1]}), ("@@at", "@at"), ('"7"', "7")]
)
def test_data_is_json_or_a_text(nexusflow: Nexusflow, text: str, value: object) -> None:
    sent = nexusflow("signals", "send", "cli.data", "--data", text, "--json").json
    assert nexusflow("signals", "show", sent["id"], "--json").json["data"] == value


def test_a_signal_for_nobody_can_be_refused(nexusflow: Nexusflow) -> None:
    refused = nexusflow("signals", "send", "cli.nobody", "--only-if-awaited", "--json")
    assert refused.code == 2
    assert json.loads(refused.out)["error"]["code"] == "NOBODY_WAITS"
    assert "refused" in nexusflow("signals", "list", "--name", "cli.nobody").out


def test_sent_again_under_its_key_it_is_sent_once(nexusflow: Nexusflow) -> None:
    one, two = (nexusflow("signals", "send", "cli.once", "--idempotency-key", "k-1", "--json").json for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    "words",
    [
        ("send", "two words"),
        ("send", "cli.x", "--keep-for", "soon"),
        ("send", "cli.x", "--data", "@none.json"),
        ("show", "0199aaaa-0000-7000-8000-0000000000ff"),
        ("show", "no-id"),
        ("list", "--state", "lost"),
        ("list", "--sort", "name"),
    ],
)
def test_what_cannot_be_done_says_why(nexusflow: Nexusflow, words: tuple[str, ...]) -> None:
    refused = nexusflow("signals", *words)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.strip()
