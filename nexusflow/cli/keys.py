"""``nexusflow keys``: API keys of the settings' tenant."""

from typing import Any

from rich.text import Text

from nexusflow.auth.keys import ApiKey, create_key, find_key, list_keys, revoke_key
from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import print_json, print_text, say
from nexusflow.cli.records import document, local, parse_span, show_table


def create(name: str, *, expires: str | None, as_json: bool) -> int:
    """Make a key; the secret alone goes to standard output."""
    expires_in = parse_span(expires, "--expires") if expires is not None else None
    with readable_cluster() as cluster:
        key, secret = create_key(cluster.tenant, name, expires_in=expires_in)
    if as_json:
        print_json(_document(key) | {"key": secret})
        return exits.SUCCEEDED
    print_text(f"{secret}\n")
    until = f"until {local(key.expires_at)}" if key.expires_at else "until it is revoked"
    say(f"Keep it: it is not shown again. It is good {until}. Send it as Authorization: Bearer {key.prefix}…", "dim")
    return exits.SUCCEEDED


def show_list(*, as_json: bool) -> int:
    """Print the keys."""
    with readable_cluster() as cluster:
        keys = list_keys(cluster.tenant)
    if as_json:
        print_json([_document(each) for each in keys])
        return exits.SUCCEEDED
    rows = [
        (
            f"{each.prefix}…",
            _state(each),
            local(each.created_at),
            _ends(each),
            _used(each),
            Text(each.name, "bold"),
        )
        for each in keys
    ]
    columns = ("Key", "State", "Created", "Ends", "Last used", "Name")
    show_table(columns, rows, "No keys. nexusflow keys create NAME makes one.")
    return exits.SUCCEEDED


def _state(key: ApiKey) -> Text:
    return Text(key.state, {"valid": "green", "expired": "yellow"}.get(key.state, "red"))


def _ends(key: ApiKey) -> str:
    return local(key.revoked_at or key.expires_at, "never")


def _used(key: ApiKey) -> str:
    return local(key.last_used_at, "never")


def _document(key: ApiKey) -> dict[str, Any]:
    shown = document(key) | {"state": key.state}
    del shown["tenant"]
    return shown


def revoke(name: str, *, as_json: bool) -> int:
    """End a key."""
    with readable_cluster() as cluster:
        key = revoke_key(cluster.tenant, find_key(cluster.tenant, name).id)
    if as_json:
        print_json(_document(key))
    else:
        say(f"The key {key.name} ({key.prefix}…) is revoked; within 5 s nothing takes it any more.", "bold green")
    return exits.SUCCEEDED
