"""``nexusflow tenants``."""

from collections.abc import Callable

from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]


def test_a_tenants_limits_are_set_shown_and_taken_back(nexusflow: Nexusflow) -> None:
    said = nexusflow("tenants", "limit", "tenant-b", "--running", "20", "--queued", "5000", "--weight", "3")
    assert (said.code, said.err.strip()) == (0, "tenant-b: at most 20 running, 5,000 queued, weight 3.")
    line = next(line for line in nexusflow("tenants", "list").out.splitlines() if "tenant-b" in line)
    assert line.split() == ["tenant-b", "0", "20", "0", "5,000", "3"]
    limited = nexusflow("tenants", "limit", "tenant-b", "--running", "default", "--queued", "0", "--json").json
    assert (limited["max_running"], limited["max_queued"], limited["weight"]) == (None, 0, 3)
    assert [each["name"] for each in nexusflow("tenants", "list", "--json").json] == ["tenant-a", "tenant-b"]


def test_what_cannot_be_set_is_said(nexusflow: Nexusflow) -> None:
    for arguments, told in (
        (("tenant-b",), "Nothing is to be changed."),
        (("tenant-bb", "--weight", "2"), "There is no tenant 'tenant-bb'. Did you mean 'tenant-b'?"),
        (("tenant-b", "--weight", "0"), "--weight is 0; it must be a whole number from 1 to 100."),
        (("tenant-b", "--running", "many"), "--running is 'many'. Give a whole number, 0 for no limit, or default."),
        (("tenant-b", "--queued", "-1"), "--queued is '-1'."),
        (("tenant-b", "--queued", "9999999999"), "it must be a whole number from 0 to 2,147,483,647."),
    ):
        refused = nexusflow("tenants", "limit", *arguments)
        assert (refused.code, refused.out) == (2, ""), arguments
        assert told in " ".join(refused.err.split()), refused.err
