"""``nexusflow tenants``: who shares the cluster, and how much of it each may take."""

from dataclasses import asdict
from typing import Any

from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import print_json, say
from nexusflow.cli.records import show_table
from nexusflow.errors import InvalidInput
from nexusflow.operations.tenants import TenantLine, limit_tenant, list_tenants

DEFAULT = "default"


def show_list(*, as_json: bool) -> int:
    """Print the tenants."""
    with readable_cluster():
        found = list_tenants()
    if as_json:
        print_json([_document(each) for each in found])
        return exits.SUCCEEDED
    rows = [
        (
            Text(each.name, "bold"),
            f"{each.running:,}",
            _limit(each.most_running),
            f"{each.queued:,}",
            _limit(each.most_queued),
            str(each.weight),
        )
        for each in found
    ]
    show_table(("Tenant", "Running", "at most", "Queued", "at most", "Weight"), rows, "No tenants.")
    return exits.SUCCEEDED


def limit(name: str, running: str | None, queued: str | None, weight: int | None, *, as_json: bool) -> int:
    """Change a tenant's limits."""
    given: dict[str, int | None] = {}
    if running is not None:
        given["running"] = _number(running, "--running")
    if queued is not None:
        given["queued"] = _number(queued, "--queued")
    if weight is not None:
        given["weight"] = weight
    with readable_cluster():
        tenant = limit_tenant(name, given)
    if as_json:
        print_json(_document(tenant))
        return exits.SUCCEEDED
    say(
        f"{tenant.name}: at most {_limit(tenant.most_running)} running, {_limit(tenant.most_queued)} queued,"
        f" weight {tenant.weight}.",
        "bold green",
    )
    return exits.SUCCEEDED


def _number(text: str, flag: str) -> int | None:
    if text.strip() == DEFAULT:
        return None
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 10):
        raise InvalidInput(f"{flag} is '{text[:40]}'.", "Give a whole number, 0 for no limit, or default.")
    return int(text)


def _limit(number: int) -> str:
    return f"{number:,}" if number else "any number"


def _document(tenant: TenantLine) -> dict[str, Any]:
    return asdict(tenant)
