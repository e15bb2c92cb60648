"""``nexusflow runs watch``: one run to its end, or all runs as they happen."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

import psycopg
import sqlalchemy as sa
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import Cluster, readable_cluster, usable_cluster
from nexusflow.cli.console import out, say, silence
from nexusflow.cli.following import exit_code, follow, tell
from nexusflow.cli.interruption import Interruption
from nexusflow.cli.records import local
from nexusflow.cli.render import duration
from nexusflow.cli.runs import error_of, run_line_document, status_of
from nexusflow.cli.watch import AWAY_SECONDS
from nexusflow.embedded.cluster import find
from nexusflow.embedded.home import find_home
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings, use_settings
from nexusflow.workflows.reports.listing import RunLine, list_runs
from nexusflow.workflows.reports.report import find_run, read_run
from nexusflow.workflows.saved.saved import find_workflow

PAUSE = 0.7
NEWEST = 50
FIRST = 10
"""How many runs of before are shown at the beginning."""


def follow_one(name: str, *, as_json: bool) -> int:
    """Follow a run to its end; one whose embedded cluster has stopped goes on with it."""
    with readable_cluster() as cluster:
        run = find_run(cluster.tenant, name)
        report = read_run(cluster.tenant, run, whole=True)
        if report.run.is_terminal:
            tell(report, cluster.home, with_table=not as_json, as_json=as_json)
            return exit_code(report)
    if cluster.home is not None:
        use_settings(None)  # those of the database that was started for reading
    with Interruption() as interruption:
        try:
            with usable_cluster(lambda line: say(line[:1].upper() + line[1:] + " …", "dim")) as cluster:
                title = f"Run {run} of {report.run.workflow}, version {report.run.version}."
                report, with_table = follow(cluster, run, title, interruption)
                tell(report, cluster.home, with_table=with_table, as_json=as_json)
                return exit_code(report)
        except KeyboardInterrupt:
            say(f"No longer watched; the run goes on with its cluster. See nexusflow runs show {run}.", "yellow")
            raise


class Tail(Protocol):
    """What shows runs as they happen."""

    def show(self, runs: list[RunLine], changed: list[RunLine]) -> None:
        """The newest runs, newest first, and those that have changed since the last look, oldest first."""

    def note(self, text: str) -> None:
        """Something to know."""


def follow_all(workflow: str | None, *, as_json: bool) -> int:
    """Show runs as they happen, until Ctrl-C."""
    _refuse_stopped()
    with readable_cluster() as cluster, Interruption(), contextlib.suppress(KeyboardInterrupt):
        wanted = find_workflow(cluster.tenant, workflow) if workflow is not None else None
        try:
            with _tail(as_json=as_json) as tail:
                _look_on(cluster, wanted, tail)
        except BrokenPipeError:  # nobody reads it any more
            silence(sys.stdout)
    return exits.SUCCEEDED


def _refuse_stopped() -> None:
    settings = get_settings()
    if settings.database_url is None and find(home := find_home(settings.home)) is None:
        raise ClusterUnusable(f"Nothing runs in {home.path}.", "Start it: nexusflow up, or nexusflow run FILE.")


def _look_on(cluster: Cluster, workflow: str | None, tail: Tail) -> None:
    seen: dict[str, tuple[str, str | None]] = {}
    away_since: float | None = None
    while True:
        began = time.monotonic()
        try:
            runs = _newest(cluster.tenant, workflow)
            if away_since is not None:
                tail.note("The database answers again.")
                away_since = None
            changed = [run for run in reversed(runs) if seen.get(run.id) != (run.status, run.ending)]
            tail.show(runs, changed if seen else changed[-FIRST:])
            seen = {run.id: (run.status, run.ending) for run in runs} or {"": ("", None)}
        except (ClusterUnusable, sa.exc.SQLAlchemyError, psycopg.Error):
            if away_since is None:
                away_since = began
                tail.note(f"The database does not answer; trying for {AWAY_SECONDS:.0f} s.")
            if began - away_since > AWAY_SECONDS:
                raise
        time.sleep(max(PAUSE, 4 * (time.monotonic() - began)))


def _newest(tenant: str, workflow: str | None) -> list[RunLine]:
    """The runs that were accepted or over last, the newest first."""
    found = {
        run.id: run
        for sort in ("-accepted_at", "-finished_at")
        for run in list_runs(tenant, workflow=workflow, sort=sort, per_page=NEWEST).items
    }
    return sorted(found.values(), key=lambda run: run.id, reverse=True)


@contextlib.contextmanager
def _tail(*, as_json: bool) -> Iterator[Tail]:
    if as_json:
        yield JsonTail()
    elif out().is_terminal and not out().is_dumb_terminal:
        live = Live(console=out(), auto_refresh=False, transient=False)
        with live:
            yield LiveTail(live)
    else:
        yield PlainTail()


class JsonTail:
    """One JSON document a line for each change."""

    def show(self, _runs: list[RunLine], changed: list[RunLine]) -> None:
        """Write what has changed."""
        for run in changed:
            sys.stdout.write(self.line(run) + "\n")
        sys.stdout.flush()

    def line(self, run: RunLine) -> str:
        """What is written of a run."""
        return json.dumps(run_line_document(run))

    def note(self, text: str) -> None:
        """On standard error."""
        say(text, "yellow")


class PlainTail(JsonTail):
    """A line for each change."""

    def line(self, run: RunLine) -> str:
        """When, which run, what has become of it."""
        took = f" in {duration(run.seconds)}" if run.finished_at is not None else ""
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        return f"{now} {run.id} {run.workflow} {status_of(run)}{took}  {error_of(run)}".rstrip()


class LiveTail:
    """A table that is redrawn, as long as the terminal is high."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, runs: list[RunLine], changed: list[RunLine]) -> None:
        """Redraw the table."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis")
        for run in runs[: max(3, out().height - 3)]:
            error = Text(error_of(run), "red")
            name = Text(run.workflow, "bold")
            table.add_row(local(run.accepted_at)[11:], run.id, name, status_of(run), duration(run.seconds), error)
        hint = Text(f"{'Nothing yet. ' if not runs else ''}Ctrl-C stops the watching.", "dim")
        self._live.update(Group(table, hint), refresh=True)

    def note(self, text: str) -> None:
        """A line above the table."""
        self._live.console.print(text, style="yellow")
