"""``nexusflow queues``."""

from typing import Any

from rich.table import Table
from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import out, print_json, say
from nexusflow.operations.queues import COUNTED, QueuesState, QueueState, read_queues

LATE_SECONDS = 60.0


def show_queues(*, as_json: bool) -> int:
    """Print each queue: from its rows, and from the broker if it answers."""
    with readable_cluster():
        found = read_queues()
    if as_json:
        print_json(document(found))
        return exits.SUCCEEDED
    out().print(_table(found))
    if found.complaint:
        say(f"The broker does not answer ({found.complaint}): the numbers are those of the rows alone.", "yellow")
    dead = [each.name for each in found.queues if each.dead]
    if dead:
        say(f"There are dead letters: nexusflow queues dead list {dead[0]}", "yellow")
    return exits.SUCCEEDED


def document(found: QueuesState) -> dict[str, Any]:
    """The queues as programs get them."""
    return {
        "queues": [
            {
                "name": each.name,
                "ready": each.rows.ready,
                "leased": each.rows.leased,
                "waiting": each.rows.waiting,
                "oldest_ready_seconds": each.rows.oldest,
                "messages": each.messages,
                "consumers": each.consumers,
                "dead_letters": each.dead,
                "workers": each.workers,
                "done_per_second": each.done_per_second,
            }
            for each in found.queues
        ],
        "counted_to": COUNTED,
        "broker": {"answers": not found.complaint, "message": found.complaint},
    }


def _table(found: QueuesState) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Queue")
    for title in ("Ready", "Oldest", "Running", "Waiting", "In broker", "Dead", "Workers", "Done/s"):
        table.add_column(title, justify="right")
    for each in found.queues:
        table.add_row(*_cells(each, has_dead=found.has_dead_letters))
    return table


def _cells(each: QueueState, *, has_dead: bool) -> list[Text]:
    oldest, is_late = each.rows.oldest, (each.rows.oldest or 0) > LATE_SECONDS
    unserved = not each.workers and (each.rows.ready or each.rows.leased)
    return [
        Text(each.name, "bold"),
        Text(_many(each.rows.ready)),
        Text("" if oldest is None else f"{oldest:,.0f} s", "yellow" if is_late else ""),
        Text(_many(each.rows.leased)),
        Text(_many(each.rows.waiting)),
        Text("?" if each.messages is None else f"{each.messages:,}"),
        Text(("?" if has_dead else "none") if each.dead is None else f"{each.dead:,}", "yellow" if each.dead else ""),
        Text(str(each.workers), "red" if unserved else ""),
        Text(f"{each.done_per_second:,.1f}"),
    ]


def _many(number: int) -> str:
    return f"{number:,}{'+' if number >= COUNTED else ''}"
