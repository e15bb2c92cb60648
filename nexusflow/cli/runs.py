"""``nexusflow runs list``, ``runs pause`` and ``runs resume``; ``runs cancel`` by ids."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import print_json, say
from nexusflow.cli.records import document, gathered, local, parse_moment, show_rest, show_table
from nexusflow.cli.render import duration, style_of, words
from nexusflow.workflows.reports.listing import RunLine, list_runs
from nexusflow.workflows.reports.report import find_run
from nexusflow.workflows.rows.states import RUN_TERMINAL
from nexusflow.workflows.saved.saved import find_workflow
from nexusflow.workflows.starts.control import cancel_run, pause_run, resume_run

MESSAGE_WIDTH = 80


@dataclass(frozen=True)
class Filters:
    """Which runs, as the flags say it."""

    workflow: str | None = None
    status: list[str] | None = None
    cause: str | None = None
    trigger: str | None = None
    parent: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no flag is given."""
        return not any(vars(self).values())

    def asked(self, tenant: str) -> dict[str, Any]:
        """As the list takes them. Raises InvalidInput, NotFound."""
        statuses = {each.strip() for given in self.status or () for each in given.split(",") if each.strip()}
        return {
            "workflow": find_workflow(tenant, self.workflow) if self.workflow is not None else None,
            "status": statuses if self.status else None,
            "cause": self.cause,
            "trigger": self.trigger,
            "parent": find_run(tenant, self.parent) if self.parent is not None else None,
            "since": parse_moment(self.since, "--since") if self.since is not None else None,
            "until": parse_moment(self.until, "--until") if self.until is not None else None,
            "text": self.text,
        }


def show_list(filters: Filters, *, sort: str, limit: int, as_json: bool) -> int:
    """Print runs."""
    with readable_cluster() as cluster:
        asked = filters.asked(cluster.tenant)
        items, first = gathered(
            lambda count, cursor: list_runs(cluster.tenant, **asked, sort=sort, per_page=count, cursor=cursor), limit
        )
    if as_json:
        print_json([run_line_document(each) for each in items])
        return exits.SUCCEEDED
    show_table(
        ("Accepted", "Run", "Workflow", "Status", "Took", "By", "Error"),
        [
            (
                local(each.accepted_at),
                each.id,
                Text(f"{each.workflow} v{each.version}", "bold"),
                status_of(each),
                duration(each.seconds),
                each.trigger,
                Text(error_of(each), "red"),
            )
            for each in items
        ],
        "No runs.",
    )
    show_rest(len(items), first)
    return exits.SUCCEEDED


def run_line_document(run: RunLine) -> dict[str, Any]:
    """A run in a list, as the API shows it."""
    return document(run) | {"seconds": round(run.seconds, 3)}


def status_of(run: RunLine) -> Text:
    """A run's status in colour."""
    told = f"{run.status}, ending as {words(run.ending)}" if run.ending else words(run.status)
    return Text(told, style_of(run.ending or run.status))


def error_of(run: RunLine) -> str:
    """Why a run failed, in a few words."""
    if run.error_code is None or run.status == "cancelled" or run.ending == "cancelled":
        return ""
    message = " ".join((run.error_message or "").split())
    short = message if len(message) <= MESSAGE_WIDTH else f"{message[:MESSAGE_WIDTH]}…"
    return f"{short} [{run.error_code}]".strip()


def cancel(names: list[str], *, as_json: bool) -> int:
    """Cancel runs, once all of them are found."""
    done = "is being cancelled: nothing new starts in it, what runs may finish"
    return _change(names, cancel_run, lambda _: done, as_json=as_json)


def pause(names: list[str], *, as_json: bool) -> int:
    """Pause runs, once all of them are found."""
    done = "is paused: nothing new starts in it, what runs may finish. nexusflow runs resume lets it go on"
    return _change(names, pause_run, lambda status: done if status == "paused" else "is ending", as_json=as_json)


def resume(names: list[str], *, as_json: bool) -> int:
    """Resume runs, once all of them are found."""
    return _change(names, resume_run, lambda status: f"goes on: {words(status)}", as_json=as_json)


def _change(names: list[str], change: Callable[[str, str], str], told: Callable[[str], str], *, as_json: bool) -> int:
    with readable_cluster() as cluster:
        runs = list(dict.fromkeys(find_run(cluster.tenant, name) for name in names))
        statuses = {run: change(cluster.tenant, run) for run in runs}
    over = {run: status in RUN_TERMINAL for run, status in statuses.items()}
    if as_json:
        print_json([{"id": run, "status": status, "was_over": over[run]} for run, status in statuses.items()])
        return exits.SUCCEEDED
    for run, status in statuses.items():
        if over[run]:
            say(f"Run {run} is over already: {words(status)}.", "yellow")
        else:
            say(f"Run {run} {told(status)}.", "bold green")
    return exits.SUCCEEDED
