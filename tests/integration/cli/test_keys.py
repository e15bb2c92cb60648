"""``nexusflow keys``."""

from collections.abc import Callable

from nexusflow.auth.keys import authenticate
from tests.servers.databases import Database
from tests.unit.cli.conftest import Answer

Nexusflow = Callable[..., Answer]


def test_a_key_from_its_making_to_its_end(nexusflow: Nexusflow, database: Database) -> None:
    made = nexusflow("keys", "create", "for the shop", "--expires", "90d")
    assert made.code == 0
    secret = made.out.strip()
    assert authenticate(secret).tenant_name == "tenant-a"
    assert secret not in made.err
    other = nexusflow("keys", "create", "other", "--json").json
    assert authenticate(other["key"]).tenant == str(database.tenant_a)
    listed = nexusflow("keys", "list")
    assert "for the shop" in listed.out
    assert secret not in listed.out
    (shown,) = [each for each in nexusflow("keys", "list", "--json").json if each["name"] == "for the shop"]
    assert shown["state"] == "valid"
    assert shown["expires_at"] > shown["created_at"]
    assert "key" not in shown
    assert "is revoked" in nexusflow("keys", "revoke", "for the shop").err
    assert nexusflow("keys", "revoke", other["key"][:12], "--json").json["state"] == "revoked"
    assert {each["state"] for each in nexusflow("keys", "list", "--json").json} == {"revoked"}


def test_what_cannot_be_done_is_said(nexusflow: Nexusflow) -> None:
    for arguments in (
        ("create", ""),
        ("create", "x" * 201),
        ("create", "x", "--expires", "soon"),
        ("revoke", "nobody"),
        ("revoke", "nxf_"),
    ):
        refused = nexusflow("keys", *arguments)
        assert (refused.code, refused.out) == (2, ""), arguments
        assert refused.err.startswith("Error: ")
