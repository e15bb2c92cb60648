"""The commands for whoever runs the cluster, and their flags: ``queues``, ``queues dead``, ``workers``, ``tenants``."""
# ruff: noqa: PLC0415 - a command loads what it needs and nothing else

import functools
from typing import Annotated

import typer

from nexusflow.cli import exits

queues = typer.Typer(help="Look at the queues, and at their dead letters.")
dead = typer.Typer(help="Dead letters: messages that a queue gave up (RabbitMQ).", no_args_is_help=True)
queues.add_typer(dead, name="dead")
tenants = typer.Typer(help="Look at the tenants, and limit what each may take.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output.")]
QueueName = Annotated[
    str, typer.Argument(metavar="QUEUE", help="workflow, integration or notification.", show_default=False)
]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="One letter's id; may be given often.")]
All = Annotated[bool, typer.Option("--all", help="Every letter of the queue.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show which letters it would be.")]


@queues.callback(invoke_without_command=True)
def queues_(context: typer.Context, as_json: AsJson = False) -> int:
    """Look at the queues: what waits, since when, who serves them, how fast, and their dead letters."""
    if context.invoked_subcommand is not None:
        return exits.SUCCEEDED
    from nexusflow.cli.queues import show_queues

    return exits.perform(functools.partial(show_queues, as_json=as_json), as_json=as_json)


@dead.command("list")
def dead_list(
    queue: QueueName,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most letters to read.")] = 100,
    as_json: AsJson = False,
) -> int:
    """List a queue's dead letters. They stay where they are."""
    from nexusflow.cli.dead_letters import show_letters

    return exits.perform(functools.partial(show_letters, queue, limit, as_json=as_json), as_json=as_json)


@dead.command("read")
def dead_read(queue: QueueName, ids: Ids = None, as_json: AsJson = False) -> int:
    """Show dead letters with all that can be known of them. They stay where they are."""
    from nexusflow.cli.dead_letters import read_whole

    return exits.perform(functools.partial(read_whole, queue, ids or [], as_json=as_json), as_json=as_json)


@dead.command("redrive")
def dead_redrive(
    queue: QueueName, ids: Ids = None, everything: All = False, dry_run: DryRun = False, as_json: AsJson = False
) -> int:
    """Send dead letters back to their queue: each is gone from here only when the broker has it there."""
    from nexusflow.cli.dead_letters import Settling

    command = Settling("redrive", queue, ids or [], everything=everything, dry_run=dry_run, as_json=as_json)
    return exits.perform(command.perform, as_json=as_json)


@dead.command("drop")
def dead_drop(
    queue: QueueName,
    ids: Ids = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove dead letters for good. A run loses nothing: its rows say what is to be done."""
    from nexusflow.cli.dead_letters import Settling

    command = Settling("drop", queue, ids or [], everything=everything, dry_run=dry_run, as_json=as_json, sure=yes)
    return exits.perform(command.perform, as_json=as_json)


def workers(as_json: AsJson = False) -> int:
    """Look at the workers and beats: who they are, what they serve, what they run right now."""
    from nexusflow.cli.workers import show_workers

    return exits.perform(functools.partial(show_workers, as_json=as_json), as_json=as_json)


@tenants.command("list")
def list_tenants(as_json: AsJson = False) -> int:
    """List the tenants: their live runs, limits and weights."""
    from nexusflow.cli.tenants import show_list

    return exits.perform(functools.partial(show_list, as_json=as_json), as_json=as_json)


@tenants.command("limit")
def limit_tenant(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.", show_default=False)],
    running: Annotated[
        str | None,
        typer.Option("--running", metavar="N", help="The most runs at the same time; 0: any number, or default."),
    ] = None,
    queued: Annotated[
        str | None, typer.Option("--queued", metavar="N", help="The most runs that wait; 0: any number, or default.")
    ] = None,
    weight: Annotated[
        int | None, typer.Option("--weight", metavar="W", help="Its share among busy tenants, 1 to 100.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Limit a tenant's runs, or change its share of the workers. What runs already goes on."""
    from nexusflow.cli.tenants import limit

    return exits.perform(functools.partial(limit, name, running, queued, weight, as_json=as_json), as_json=as_json)
