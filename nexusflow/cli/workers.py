"""``nexusflow workers``."""

from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import out, print_json, say
from nexusflow.operations.workers import Running, WorkersState, WorkerState, read_workers

_STYLES = {"running": "green", "draining": "yellow", "silent": "red"}
MOST_LINES = 40


def show_workers(*, as_json: bool) -> int:
    """Print the workers and beats, and what runs on each."""
    with readable_cluster():
        found = read_workers()
    if as_json:
        print_json(document(found))
        return exits.SUCCEEDED
    if not found.workers:
        say("No worker and no beat has said that it lives. Start them: nexusflow up, or see docs/running.md.", to=out())
        return exits.SUCCEEDED
    out().print(_table(found))
    running = [(worker.process.name, each) for worker in found.workers for each in worker.running]
    for name, each in running[:MOST_LINES]:
        say(_line(name, each), "dim", to=out())
    if len(running) > MOST_LINES:
        say(f"… and {len(running) - MOST_LINES:,} more (--json).", "dim", to=out())
    if found.complaint:
        say(f"The workers were not asked since when each task runs: {found.complaint}.", "yellow")
    return exits.SUCCEEDED


def document(found: WorkersState) -> dict[str, Any]:
    """The workers as programs get them."""
    return {
        "workers": [_worker(each) for each in found.workers],
        "inspected": {"answered": not found.complaint, "message": found.complaint},
    }


def _worker(each: WorkerState) -> dict[str, Any]:
    process = each.process
    return {
        "name": process.name,
        "kind": process.kind,
        "host": process.host,
        "pid": process.pid,
        "version": process.version,
        "state": each.state,
        "queues": each.queues,
        "pool": process.details.get("pool"),
        "slots": process.details.get("concurrency"),
        "busy": each.busy,
        "done": each.done,
        "done_per_second": each.per_second,
        "started_at": process.started_at,
        "seen_seconds_ago": round(process.seen_ago, 1),
        "running": [
            {"tenant": task.tenant, "run": task.run, "step": task.step, "item": task.item, "since": task.since}
            for task in each.running
        ],
    }


def _table(found: WorkersState) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("Name", "State", "Queues", "Pool"):
        table.add_column(title)
    for title in ("Busy", "Done", "Done/s", "Seen"):
        table.add_column(title, justify="right")
    for each in found.workers:
        slots = each.process.details.get("concurrency")
        table.add_row(
            Text(each.process.name, "bold"),
            Text(each.state, _STYLES.get(each.state, "")),
            ", ".join(each.queues) or each.process.kind,
            str(each.process.details.get("pool", "")),
            f"{each.busy}/{slots}" if slots else "",
            f"{each.done:,}" if slots else "",
            f"{each.per_second:,.1f}" if slots else "",
            f"{each.process.seen_ago:,.0f} s ago",
        )
    return table


def _line(name: str, each: Running) -> str:
    since = f", {(datetime.now(UTC) - each.since).total_seconds():,.0f} s" if each.since else ""
    item = f" item {each.item}" if each.item else ""
    return f"{name}: {each.tenant} · run {each.run} · {each.step}{item}{since}"
