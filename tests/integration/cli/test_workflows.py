"""``nexusflow workflows``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.workflows.definitions import source
from tests.unit.cli.conftest import BAD, Answer

Nexusflow = Callable[..., Answer]


def write(name: str, text: bytes) -> str:
    Path(f"{name}.yaml").write_bytes(text)
    return f"{name}.yaml"


def test_a_workflow_from_its_first_save_to_its_end(nexusflow: Nexusflow) -> None:
    file = write("life", source("life"))
    saved = nexusflow("workflows", "save", file)
    assert (saved.code, saved.out) == (0, "")
    assert "Saved life, version 1." in saved.err
    assert "It is a draft" in saved.err
    write("life", source("life", ".n"))
    document = nexusflow("workflows", "save", file, "--publish", "--json").json
    assert (document["status"], document["published_version"], document["latest_version"]) == ("published", 2, 2)
    write("life", source("renamed", ".n + 1"))
    renamed = nexusflow("workflows", "save", file, "--workflow", "life", "--json").json
    assert (renamed["id"], renamed["name"], renamed["published_version"]) == (document["id"], "renamed", 2)
    shown = nexusflow("workflows", "show", "renamed")
    assert "version 2 runs · newest is 3" in shown.out
    assert 'jq: ".n"' in shown.out, "the version that runs"
    assert (
        nexusflow("workflows", "show", document["id"][:13], "--version", "3", "--source").out == Path(file).read_text()
    )
    assert nexusflow("workflows", "show", "renamed", "--json").json["input_schema"]["properties"]["n"]["default"] == 7
    assert [each["number"] for each in nexusflow("workflows", "versions", "renamed", "--json").json] == [3, 2, 1]
    assert "2 of 3: --limit" in nexusflow("workflows", "versions", "renamed", "-n", "2").err
    assert "version 1 runs" in nexusflow("workflows", "publish", "renamed", "--version", "1").err
    assert nexusflow("workflows", "archive", "renamed", "--json").json["status"] == "archived"
    assert "It is archived" in nexusflow("workflows", "save", file, "-w", "renamed").err
    refused = nexusflow("workflows", "delete", "renamed")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert nexusflow("workflows", "delete", "renamed", "--yes", "--json").json["deleted"] is True
    gone = nexusflow("workflows", "show", "renamed")
    assert gone.code == 2
    assert "There is no workflow renamed." in gone.err


def test_the_list_is_filtered_sorted_and_cut(nexusflow: Nexusflow) -> None:
    assert "No workflows." in nexusflow("workflows", "list", "--text", "in-a-list").out
    for name in ("in-a-list-1", "in-a-list-2", "in-a-list-3"):
        nexusflow("workflows", "save", write(name, source(name)), *(["--publish"] if name.endswith("2") else []))
    listed = nexusflow("workflows", "list", "--text", "in-a-list", "--sort", "-name", "--json").json
    assert [each["name"] for each in listed] == ["in-a-list-3", "in-a-list-2", "in-a-list-1"]
    cut = nexusflow("workflows", "list", "-t", "in-a-list", "--limit", "2")
    assert "in-a-list-2" in cut.out
    assert "in-a-list-3" not in cut.out
    assert "2 of 3: --limit" in cut.err
    published = nexusflow("workflows", "list", "-t", "About in-a", "--status", "published", "--json").json
    assert [each["name"] for each in published] == ["in-a-list-2"]
    assert set(published[0]) >= {"id", "description", "created_at", "updated_at"}


def test_a_diff_tells_steps_and_text(nexusflow: Nexusflow) -> None:
    file = write("differ", source("differ"))
    nexusflow("workflows", "save", file, "--publish")
    write("differ", source("differ", ".n", "  - { id: two, type: transform, needs: [one], with: { jq: . } }\n"))
    nexusflow("workflows", "save", file)
    shown = nexusflow("workflows", "diff", "differ")
    assert "~ one changed with.jq" in shown.out
    assert "+ two added" in shown.out
    assert '-  - { id: one, type: transform, with: { jq: "." } }' in shown.out
    document = nexusflow("workflows", "diff", "differ", "2", "1", "--json").json
    assert (document["from"], document["to"]) == (2, 1)
    assert document["steps"][-1] == {"path": "two", "change": "removed", "fields": []}
    assert "same text" in nexusflow("workflows", "diff", "differ", "1", "1").out
    assert nexusflow("workflows", "diff", "differ", "1", "9").code == 2


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_file_that_is_not_valid_is_not_saved(nexusflow: Nexusflow, form: tuple[str, ...]) -> None:
    refused = nexusflow("workflows", "save", write("bad", BAD.encode()), *form)
    assert refused.code == 2
    assert "transfrom" in (refused.out if form else refused.err)
    assert nexusflow("workflows", "show", "bad").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--status", "gone"),
        ("list", "--sort", "size"),
        ("list", "--limit", "0"),
        ("show", "no-such"),
        ("save", "no-such.yaml"),
        ("publish", "no-such"),
        ("delete", "no-such", "--yes"),
    ],
)
def test_what_cannot_be_done_is_said(nexusflow: Nexusflow, arguments: tuple[str, ...]) -> None:
    refused = nexusflow("workflows", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("Error: ")
    assert nexusflow("workflows", *arguments, "--json").json["error"]["message"]
