"""The end of a run for people: its output as a table where it is one, else why it failed, and where to look next."""

import datetime
import json
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from nexusflow.cli.console import err, out, say
from nexusflow.cli.render import duration, words
from nexusflow.embedded.home import Home
from nexusflow.workflows.reports.report import RunReport, RunSummary

CELL_WIDTH = 120
MAX_ROWS = 50
MAX_COLUMNS = 8
WHO_ACTS = {
    "user": "the workflow or its data has to be changed",
    "provider": "the vendor did not do its part: try again later, or see its status page",
    "platform": "NexusFlow or its servers: see nexusflow doctor",
}


def show_output(value: Any) -> None:
    """A run's output on standard output."""
    table = _table(value)
    if table is not None:
        out().print(table)
        if isinstance(value, list) and len(value) > MAX_ROWS:
            say(f"… {len(value) - MAX_ROWS:,} rows more: --json shows all", "dim", to=out())
    elif value is not None:
        say(json.dumps(value, indent=2, ensure_ascii=False), to=out())


def _table(value: Any) -> Table | None:
    """A table for a flat object or a list of flat objects; None for all else."""
    if isinstance(value, dict) and value and all(_cell(each) is not None for each in value.values()):
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for key, each in value.items():
            table.add_row(Text(key), _cell(each))
        return table
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return None
    columns = list(dict.fromkeys(key for row in value for key in row))
    if len(columns) > MAX_COLUMNS or any(_cell(each) is None for row in value for each in row.values()):
        return None
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in value[:MAX_ROWS]:
        table.add_row(*[_cell(row[column]) if column in row else Text() for column in columns])
    return table


def _cell(value: Any) -> Text | None:
    """A value in one cell; None where it would not be readable there."""
    if isinstance(value, str):
        return Text(value) if len(value) <= CELL_WIDTH and "\n" not in value else None
    if isinstance(value, dict) and value and all(isinstance(each, (int, float, str)) for each in value.values()):
        text = ", ".join(f"{key} {each}" for key, each in value.items())
    else:
        text = json.dumps(value, ensure_ascii=False)
    return Text(text) if len(text) <= CELL_WIDTH else None


def show_ending(report: RunReport) -> None:
    """How the run ended, and if badly, why; on standard error."""
    run = report.run
    if run.status == "succeeded":
        say(f"{run.workflow} succeeded in {duration(run.seconds)}.", "bold green")
        return
    say(f"{run.workflow} {'was cancelled' if run.status == 'cancelled' else words(run.status)}.", "bold red")
    show_error(run)


def show_error(run: RunSummary) -> None:
    """Why a run ended badly: the step, the message, what to do, and who has to."""
    error = run.error or {}
    if not error:
        return
    item = f" (item {error['item']})" if error.get("item") else ""
    place = f"{error['step']}{item}: " if error.get("step") else ""
    err().print(Text.assemble((place, "bold"), str(error.get("message", "")), (f"  [{error.get('code')}]", "dim")))
    if error.get("hint"):
        say(f"  {error['hint']}")
    if run.status != "cancelled" and run.cause in WHO_ACTS:
        say(f"  Who has to act: {run.cause} ({WHO_ACTS[run.cause]}).", "dim")


def show_next(run: RunSummary, home: Home | None) -> None:
    """Where to look next; on standard error."""
    say("Look next:", "dim")
    places = [(f"nexusflow runs show {run.id}", "every step, its attempts and events")]
    if home is not None:
        places += _local_effects(home, run.accepted_at)
    for place, what in places:
        err().print(Text.assemble(f"  {place}", ("  " + what, "dim")), soft_wrap=True)


def _local_effects(home: Home, since: datetime.datetime) -> list[tuple[str, str]]:
    """What the vendors that the embedded cluster plays have kept of this run."""
    vendors, found = home.path / "vendors", []
    for folder, kind in (("s3", "object"), ("mail", "e-mail")):
        kept = [path for path in (vendors / folder).rglob("*") if not _is_note(path.relative_to(vendors))]
        new = [path for path in kept if _is_new(path, since)]
        found += [(_short(path), f"an {kind}") for path in sorted(new)[:3]]
        if len(new) > 3:
            found.append((_short(vendors / folder), f"{len(new) - 3} more"))
    contacts = vendors / "hubspot" / "contacts.jsonl"
    if _is_new(contacts, since):
        found.append((_short(contacts), "the CRM's contacts"))
    return found


def _is_new(path: Path, since: datetime.datetime) -> bool:
    return path.is_file() and path.stat().st_mtime >= since.timestamp() - 1


def _is_note(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
