"""The commands and their flags. Each does its work in a module of its own, imported when it is called."""
# ruff: noqa: PLC0415 - a command loads what it needs and nothing else: --help and validate start fast

import functools
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

import nexusflow
from nexusflow.cli import console, exits, groups, operating

app = typer.Typer(
    name="nexusflow",
    help="Write workflows as files, check and run them; run the cluster that does the work.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(groups.workflows, name="workflows")
app.add_typer(groups.runs, name="runs")
app.add_typer(groups.signals, name="signals")
OPERATING = "For operators"
app.add_typer(groups.keys, name="keys", rich_help_panel=OPERATING)
app.add_typer(operating.queues, name="queues", rich_help_panel=OPERATING)
app.command("workers", rich_help_panel=OPERATING)(operating.workers)
app.add_typer(operating.tenants, name="tenants", rich_help_panel=OPERATING)
schedules = typer.Typer(help="See what starts by the clock: next times, last ticks.", invoke_without_command=True)
app.add_typer(schedules, name="schedules")

db = typer.Typer(help="Look after the database: upgrade, back up, restore, prune.", no_args_is_help=True)
app.add_typer(db, name="db", rich_help_panel=OPERATING)

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="The workflow's file (YAML or JSON).", show_default=False)]


class Drawing(StrEnum):
    """How ``compile`` shows a plan."""

    TEXT = "text"
    JSON = "json"
    MERMAID = "mermaid"
    CANVAS = "canvas"


def call(arguments: list[str]) -> int:
    """Do what the command line says and give the exit code."""
    console.open_missing_streams()
    as_json = "--json" in arguments
    return exits.perform(functools.partial(_dispatch, arguments), as_json=as_json)


def _dispatch(arguments: list[str]) -> int:
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="nexusflow", standalone_mode=False)
    except Abort:
        return exits.INTERRUPTED
    except TyperException as misuse:
        raise exits.misused(misuse.format_message()) from None
    return code if isinstance(code, int) else exits.SUCCEEDED


def _version(wanted: bool) -> None:
    if wanted:
        from nexusflow.cli.console import print_text

        print_text(f"nexusflow {nexusflow.__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Write workflows as files, check and run them; run the cluster that does the work."""


@app.command()
def run(
    file: File,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="KEY=VALUE",
            help="Input for the run: KEY=VALUE, KEY=@FILE (the file is uploaded), or @FILE.json (all of it).",
        ),
    ] = None,
    mock: Annotated[
        bool, typer.Option("--mock", help="Steps that have a `mock` are not done, but give what it says.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run a workflow to its end, on the configured cluster or an embedded one.

    Exit code: 0 it succeeded, 1 it failed, 2 the file or the input is invalid, 3 the cluster cannot be used,
    130 interrupted.
    """
    from nexusflow.cli.run import RunCommand

    command = RunCommand(file, given or [], mock=mock, as_json=as_json)
    return exits.perform(command.perform, as_json=as_json, failed=command.failed)


@app.command()
def up(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The port to listen on; default: 8080, or a free one.", show_default=False),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="First bring the schema of a configured database up to date.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help='Write one line when it is ready: {"url", "api_key"}.')
    ] = False,
) -> int:
    """Run the cluster in the foreground until Ctrl-C: front end, workers and beat, on embedded or configured servers.

    Exit code: 0 it was stopped, 3 the cluster cannot be used, 130 interrupted before it was ready.
    """
    from nexusflow.cli.up import UpCommand

    command = UpCommand(host, port, upgrade=upgrade, as_json=as_json)
    return exits.perform(command.perform, as_json=as_json)


WorkflowOption = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="One workflow's only.")]


@schedules.callback()
def schedules_(context: typer.Context, workflow: WorkflowOption = None, as_json: AsJson = False) -> int:
    """See what starts by the clock: next times, last ticks."""
    return list_schedules(workflow, as_json) if context.invoked_subcommand is None else exits.SUCCEEDED


@schedules.command("list")
def list_schedules(workflow: WorkflowOption = None, as_json: AsJson = False) -> int:
    """List the schedules of published workflows, the next to tick first."""
    from nexusflow.cli.schedules import show_schedules

    return exits.perform(functools.partial(show_schedules, workflow, as_json=as_json), as_json=as_json)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write.")] = Path("workflow.yaml"),
) -> int:
    """Write a starter workflow. An existing file is never overwritten."""
    from nexusflow.cli.starter import write_starter

    return exits.perform(functools.partial(write_starter, file))


@app.command()
def validate(file: File, as_json: AsJson = False) -> int:
    """Check a workflow: every problem at once, each with its place and what to do."""
    from nexusflow.cli.validate import Validation

    command = Validation(file, as_json=as_json)
    return exits.perform(command.perform, as_json=as_json, failed=command.failed)


@app.command("compile")
def compile_(
    file: File,
    form: Annotated[Drawing, typer.Option("--format", "-f", help="How to show the plan.")] = Drawing.TEXT,
) -> int:
    """Show what a workflow compiles to: its plan, as text, JSON or a picture, or the Celery canvas."""
    from nexusflow.cli.compile import show_plan

    return exits.perform(functools.partial(show_plan, file, form.value))


@app.command("test")
def rehearse(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Test files (YAML or JSON).", show_default=False)],
    only: Annotated[
        list[str] | None, typer.Option("--case", "-c", metavar="NAME", help="This case only; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Rehearse workflows with mocked answers, without a cluster, and compare what comes with what is expected.

    Exit code: 0 all is as expected, 1 something is not, 2 a file is invalid.
    """
    from nexusflow.cli.rehearse import RehearsalCommand

    command = RehearsalCommand(files, only or [], as_json=as_json)
    return exits.perform(command.perform, as_json=as_json, failed=command.failed)


@app.command()
def actions(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="An action, such as http.request.")] = None,
    as_json: AsJson = False,
) -> int:
    """List what a step can do; with a NAME, that action's input, output and an example."""
    from nexusflow.cli.actions import show_actions

    return exits.perform(functools.partial(show_actions, name, as_json=as_json), as_json=as_json)


@db.command()
def upgrade(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say from which revision to which.")] = False,
    as_json: AsJson = False,
) -> int:
    """Create the roles and bring the schema up to date, as the owner. Runs in flight go on."""
    from nexusflow.cli.db import upgrade as work

    return exits.perform(functools.partial(work, dry_run=dry_run, as_json=as_json), as_json=as_json)


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there yet.")],
    as_json: AsJson = False,
) -> int:
    """Write the database and its stored objects into one file, while the cluster runs."""
    from nexusflow.cli.db import backup as work

    return exits.perform(functools.partial(work, file, as_json=as_json), as_json=as_json)


@db.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `nexusflow db backup` wrote.")],
    as_json: AsJson = False,
) -> int:
    """Fill an empty database from a backup: all of it, or nothing."""
    from nexusflow.cli.db import restore as work

    return exits.perform(functools.partial(work, file, as_json=as_json), as_json=as_json)


@db.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> int:
    """Delete what is older than NEXUSFLOW_RETENTION_DAYS; the cluster does so by itself each hour."""
    from nexusflow.cli.db import prune as work

    return exits.perform(functools.partial(work, dry_run=dry_run, as_json=as_json), as_json=as_json)


@app.command(rich_help_panel=OPERATING)
def doctor(as_json: AsJson = False) -> int:
    """Check what is set up, what is wrong, and what to do. Exit code 3 when something that is needed fails."""
    from nexusflow.cli.examine import show_diagnosis

    return exits.perform(functools.partial(show_diagnosis, as_json=as_json), as_json=as_json)
