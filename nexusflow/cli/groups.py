"""The commands in groups, such as ``runs`` and ``signals``. Like those of ``app.py``, each is done elsewhere."""
# ruff: noqa: PLC0415 - a command loads what it needs and nothing else

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from nexusflow.cli import exits

workflows = typer.Typer(help="Save workflows, publish, compare and remove them.", no_args_is_help=True)
runs = typer.Typer(help="Look at runs, follow, pause, cancel and repeat them.", no_args_is_help=True)
signals = typer.Typer(help="Say that events happened, and see who got them.", no_args_is_help=True)
keys = typer.Typer(help="Make and revoke API keys.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output.")]
AsLines = Annotated[bool, typer.Option("--json", help="Write JSON: one document of one run, else one a line.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The workflow's name or id, or how the id begins.", show_default=False)
]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or how it begins (8 characters or more).")]
Workflow = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="One workflow's only.")]
Status = Annotated[
    list[str] | None, typer.Option("--status", "-s", metavar="STATUS", help="Of this status; may be repeated.")
]
Text = Annotated[str | None, typer.Option("--text", "-t", metavar="TEXT", help="With this text in its name or error.")]
Sort = Annotated[str | None, typer.Option("--sort", metavar="FIELD", help="The order; -FIELD for the last first.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", help="At most so many.", min=1, max=10_000)]
Cause = Annotated[
    str | None, typer.Option("--cause", metavar="CAUSE", help="Failed because of: user, provider, platform.")
]
Trigger = Annotated[
    str | None,
    typer.Option("--trigger", metavar="TRIGGER", help="Started by: api, cli, page, schedule, workflow, …"),
]
Parent = Annotated[str | None, typer.Option("--parent", metavar="ID", help="Called by the steps of this run.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="Accepted since: 2h, 7d, or 2026-01-31T08:00.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Accepted before.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID…]", help="The runs' ids, or how they begin.", show_default=False)
]
Most = Annotated[int, typer.Option("--limit", "-n", metavar="N", help="At most so many.", min=1, max=1_000)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _do(command: Callable[..., int], *arguments: Any, as_json: bool, **words: Any) -> int:
    return exits.perform(functools.partial(command, *arguments, as_json=as_json, **words), as_json=as_json)


@workflows.command("list")
def list_workflows(
    status: Annotated[
        str | None, typer.Option("--status", "-s", metavar="STATUS", help="draft, published or archived.")
    ] = None,
    text: Text = None,
    sort: Sort = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> int:
    """List the saved workflows."""
    from nexusflow.cli.workflows import show_list

    return _do(show_list, status=status, text=text, sort=sort or "name", limit=limit, as_json=as_json)


@workflows.command("show")
def show_workflow(
    name: Name,
    version: Annotated[int | None, typer.Option("--version", metavar="N", help="Default: the one that runs.")] = None,
    only_source: Annotated[bool, typer.Option("--source", help="The definition's text alone.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show a workflow and its definition."""
    from nexusflow.cli.workflows import show_one

    return _do(show_one, name, version=version, only_source=only_source, as_json=as_json)


@workflows.command("save")
def save_workflow(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The workflow's file.", show_default=False)],
    publish: Annotated[bool, typer.Option("--publish", help="Also publish it: triggers become live.")] = False,
    into: Annotated[
        str | None, typer.Option("--workflow", "-w", metavar="NAME", help="The one to change, if FILE renames it.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Save a file as a new workflow, or as a new version of the one of its name."""
    from nexusflow.cli.workflows import save

    return _do(save, file, publish=publish, into=into, as_json=as_json)


@workflows.command("publish")
def publish_workflow(
    name: Name,
    version: Annotated[int | None, typer.Option("--version", metavar="N", help="Default: the newest.")] = None,
    as_json: AsJson = False,
) -> int:
    """Make a version the one that runs, and its triggers live. Also brings back an archived workflow."""
    from nexusflow.cli.workflows import publish

    return _do(publish, name, version=version, as_json=as_json)


@workflows.command("archive")
def archive_workflow(name: Name, as_json: AsJson = False) -> int:
    """Let nothing start a workflow any more; what runs goes on."""
    from nexusflow.cli.workflows import archive

    return _do(archive, name, as_json=as_json)


@workflows.command("delete")
def delete_workflow(name: Name, yes: Yes = False, as_json: AsJson = False) -> int:
    """Remove a workflow; what runs goes on, and its runs stay readable."""
    from nexusflow.cli.workflows import delete

    return _do(delete, name, sure=yes, as_json=as_json)


@workflows.command("versions")
def list_versions(name: Name, limit: Limit = 100, as_json: AsJson = False) -> int:
    """List a workflow's versions, newest first."""
    from nexusflow.cli.workflows import show_versions

    return _do(show_versions, name, limit=limit, as_json=as_json)


@workflows.command("diff")
def diff_versions(
    name: Name,
    before: Annotated[int | None, typer.Argument(metavar="[FROM]", help="Default: the published one.")] = None,
    after: Annotated[int | None, typer.Argument(metavar="[TO]", help="Default: the newest.")] = None,
    as_json: AsJson = False,
) -> int:
    """Show what two versions differ in: which steps, and the text."""
    from nexusflow.cli.workflows import show_diff

    return _do(show_diff, name, before, after, as_json=as_json)


@runs.command("list")
def list_runs(
    workflow: Workflow = None,
    status: Status = None,
    cause: Cause = None,
    trigger: Trigger = None,
    parent: Parent = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    sort: Sort = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> int:
    """List runs, newest first."""
    from nexusflow.cli.runs import Filters, show_list

    filters = Filters(workflow, status, cause, trigger, parent, since, until, text)
    return _do(show_list, filters, sort=sort or "-accepted_at", limit=limit, as_json=as_json)


@runs.command("show")
def show_run(run_id: RunId, as_json: AsJson = False) -> int:
    """Show a run: its status, steps, errors and latest events."""
    from nexusflow.cli.show import show_run as show

    return _do(show, run_id, as_json=as_json)


@runs.command("watch")
def watch_runs(
    run_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One run; default: all, as they happen.")] = None,
    workflow: Workflow = None,
    as_json: AsLines = False,
) -> int:
    """Follow a run to its end, or all runs as they happen. Ctrl-C stops the watching, not the runs."""
    from nexusflow.cli.follow import follow_all, follow_one

    if run_id is not None:
        return _do(follow_one, run_id, as_json=as_json)
    return _do(follow_all, workflow, as_json=as_json)


@runs.command("export")
def export_run(
    run_id: RunId,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write; it must not be there yet.")
    ] = None,
    workflow: Annotated[
        str,
        typer.Option("--workflow", "-w", metavar="FILE", help="Name this workflow file in it; else it is written in."),
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Write a run that is over as a test file for `nexusflow test`; secrets are masked."""
    from nexusflow.cli.export import export_run as export

    return _do(export, run_id, file, workflow=workflow, as_json=as_json)


@runs.command("cancel")
def cancel_runs(
    run_ids: Ids = None,
    workflow: Workflow = None,
    status: Status = None,
    cause: Cause = None,
    trigger: Trigger = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    limit: Most = 100,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Ask runs to end: nothing new starts in them, what runs may finish. By id, or all that fit the filter."""
    from nexusflow.cli.many import Many, cancel
    from nexusflow.cli.runs import Filters

    filters = Filters(workflow, status, cause, trigger, None, since, until, text)
    return _do(cancel, Many(run_ids or [], filters, limit, dry_run, yes), as_json=as_json)


@runs.command("rerun")
def rerun_runs(
    run_ids: Ids = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="WHERE", help="failed (default), start, or a step: it and what comes after it."),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="N", help="A number, or latest; default: the run's own.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="KEY=VALUE", help="Another input, from the start on.")
    ] = None,
    workflow: Workflow = None,
    status: Status = None,
    cause: Cause = None,
    trigger: Trigger = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    limit: Most = 100,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Repeat runs that are over, keeping what succeeded. By id, or all that fit the filter."""
    from nexusflow.cli.many import Many, rerun
    from nexusflow.cli.runs import Filters

    filters = Filters(workflow, status, cause, trigger, None, since, until, text)
    many = Many(run_ids or [], filters, limit, dry_run, yes)
    return _do(rerun, many, begin, version, given or [], as_json=as_json)


@runs.command("pause")
def pause_runs(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The runs' ids, or how they begin.")],
    as_json: AsJson = False,
) -> int:
    """Hold runs: nothing new starts in them, what runs may finish."""
    from nexusflow.cli.runs import pause

    return _do(pause, run_ids, as_json=as_json)


@runs.command("resume")
def resume_runs(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The runs' ids, or how they begin.")],
    as_json: AsJson = False,
) -> int:
    """Let paused runs go on where they were."""
    from nexusflow.cli.runs import resume

    return _do(resume, run_ids, as_json=as_json)


@signals.command("send")
def send_signal(
    event: Annotated[str, typer.Argument(metavar="NAME", help="The event's name, as the wait has it.")],
    key: Annotated[str, typer.Option("--key", "-k", metavar="KEY", help="Which event of that name.")] = "",
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="VALUE", help="What it brings: JSON, a text, or @FILE.json.")
    ] = None,
    keep_for: Annotated[
        str | None, typer.Option("--keep-for", metavar="AFTER", help="How long it is kept; default: 7d, at most 30d.")
    ] = None,
    only_if_awaited: Annotated[
        bool, typer.Option("--only-if-awaited", help="Refuse it where no run waits for it.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help="Under the same key it is sent once.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say that an event happened: the run that has waited for it longest goes on, else the signal is kept."""
    from nexusflow.cli.signals import send

    words = {"key": key, "data": data, "keep_for": keep_for, "only_if_awaited": only_if_awaited}
    return _do(send, event, as_json=as_json, idempotency_key=idempotency_key, **words)


@signals.command("list")
def list_signals(
    event: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of this event only.")] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", metavar="KEY", help="With this key only.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", "-s", metavar="STATE", help="kept, delivered, expired or refused.")
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="Those that this run was given.")] = None,
    sort: Sort = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> int:
    """List signals, newest first, and what became of them."""
    from nexusflow.cli.signals import show_list

    words = {"name": event, "key": key, "state": state, "run": run_id, "sort": sort or "-received_at"}
    return _do(show_list, limit=limit, as_json=as_json, **words)


@signals.command("show")
def show_signal(
    signal_id: Annotated[str, typer.Argument(metavar="ID", help="The signal's id.", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """Show a signal, its data, and what became of it."""
    from nexusflow.cli.signals import show

    return _do(show, signal_id, as_json=as_json)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.", show_default=False)],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="AFTER", help="When it ends: 12h, 90d; default: never.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Make an API key. It is shown this once: only its digest is kept."""
    from nexusflow.cli.keys import create

    return _do(create, name, expires=expires, as_json=as_json)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> int:
    """List the API keys."""
    from nexusflow.cli.keys import show_list

    return _do(show_list, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, its name, or how it begins (nxf_…).")],
    as_json: AsJson = False,
) -> int:
    """End an API key for good."""
    from nexusflow.cli.keys import revoke

    return _do(revoke, key, as_json=as_json)
