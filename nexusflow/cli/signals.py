"""``nexusflow signals``: send signals, and see what became of them."""

from typing import Any

from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import out, print_json, say
from nexusflow.cli.inputs import parse_data
from nexusflow.cli.records import document, gathered, local, show_rest, show_table
from nexusflow.cli.results import show_output
from nexusflow.workflows.reports.signals import list_signals, read_signal
from nexusflow.workflows.rows.signals import Signal
from nexusflow.workflows.starts.signalling import send_signal

_STYLES = {"delivered": "green", "kept": "yellow", "expired": "red", "refused": "red"}


def send(event: str, *, data: str | None, as_json: bool, **words: Any) -> int:
    """Send a signal; ``words``: as ``send_signal`` takes them."""
    value = parse_data(data) if data is not None else None
    with readable_cluster() as cluster:
        sent = send_signal(cluster.tenant, event, data=value, **words)
    if as_json:
        print_json(sent.as_dict())
    elif sent.state == "delivered":
        say(
            f"Signal {sent.id} was delivered to step {_place(sent.step, sent.item)} of run {sent.run_id}.", "bold green"
        )
    else:
        say(f"Signal {sent.id} is kept: no run waits for {event} yet.", "bold green")
    return exits.SUCCEEDED


def show_list(*, limit: int, as_json: bool, **filters: Any) -> int:
    """Print signals; ``filters``: as ``list_signals`` takes them."""
    with readable_cluster() as cluster:
        items, first = gathered(
            lambda count, cursor: list_signals(cluster.tenant, **filters, per_page=count, cursor=cursor), limit
        )
    if as_json:
        print_json([_without_data(each) for each in items])
        return exits.SUCCEEDED
    show_table(
        ("Received", "Signal", "State", "Event", "Key", "Delivered to"),
        [
            (local(each.received_at), each.id, _state(each), Text(each.name, "bold"), Text(each.key), _receiver(each))
            for each in items
        ],
        "No signals. nexusflow signals send NAME sends one.",
    )
    show_rest(len(items), first)
    return exits.SUCCEEDED


def show(signal: str, *, as_json: bool) -> int:
    """Print a signal with its data."""
    with readable_cluster() as cluster:
        found = read_signal(cluster.tenant, signal.strip().lower())
    if as_json:
        print_json(document(found))
        return exits.SUCCEEDED
    key = f" {found.key}" if found.key else ""
    out().print(Text.assemble((f"{found.name}{key}", "bold"), f" {found.id} ", _state(found)), soft_wrap=True)
    say(f"Received {local(found.received_at)}", "dim", to=out())
    if found.delivered_at is not None:
        say(f"Delivered {local(found.delivered_at)} to {_receiver(found)}", "dim", to=out())
    elif found.state == "kept":
        say(f"Kept until {local(found.expires_at)}", "dim", to=out())
    elif found.state == "expired":
        say(f"Nobody waited for it until {local(found.expires_at)}", "dim", to=out())
    else:
        say("Nobody waited for it, and it was not to be kept", "dim", to=out())
    if found.data is not None:
        say("\nData", "bold", to=out())
        show_output(found.data)
    return exits.SUCCEEDED


def _without_data(signal: Signal) -> dict[str, Any]:
    shown = document(signal)
    del shown["data"]
    return shown


def _state(signal: Signal) -> Text:
    return Text(signal.state, _STYLES[signal.state])


def _receiver(signal: Signal) -> str:
    return f"{_place(signal.step, signal.item)} of run {signal.run_id}" if signal.run_id is not None else ""


def _place(step: str | None, item: str | None) -> str:
    return f"{step} (item {item})" if item else str(step)
