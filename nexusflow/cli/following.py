"""One run on the terminal, from now to its end: the view while it runs, and what is told at the end."""

import contextlib
from collections.abc import Iterator

from nexusflow.cli import exits
from nexusflow.cli.clusters import Cluster
from nexusflow.cli.console import err, print_json, say
from nexusflow.cli.documents import run_document
from nexusflow.cli.interruption import Interruption
from nexusflow.cli.progress import LiveView, PlainView, view_for_stderr
from nexusflow.cli.render import steps_table
from nexusflow.cli.results import show_ending, show_next, show_output
from nexusflow.cli.watch import Watch
from nexusflow.embedded.cluster import ailing, hopeless
from nexusflow.embedded.home import Home
from nexusflow.errors import ClusterUnusable
from nexusflow.workflows.reports.report import RunReport, read_run

MAX_ROWS = 60
"""Steps shown at the end of a run; ``runs show`` shows all."""


def follow(cluster: Cluster, run: str, title: str, interruption: Interruption) -> tuple[RunReport, bool]:
    """The whole report once the run is over, and whether the steps should be shown again. Raises as ``Watch`` does."""
    view = view_for_stderr()
    home = cluster.home
    watch = Watch(cluster.tenant, run, view, interruption, lambda: _advice(home), lambda: _hopeless(home))
    with _framed(view):
        view.note(title)
        watch.follow()
    return read_run(cluster.tenant, run, whole=True), isinstance(view, LiveView)


def tell(report: RunReport, home: Home | None, *, with_table: bool, as_json: bool) -> None:
    """How a run ended: its output on standard output, all else beside it."""
    if with_table:
        err().print(steps_table(err(), report.steps[:MAX_ROWS]))
        if len(report.steps) > MAX_ROWS:
            say(f"  … {len(report.steps) - MAX_ROWS:,} more", "dim")
    if as_json:
        print_json(run_document(report))
        return
    show_ending(report)
    if report.run.status == "succeeded":
        show_output(report.run.output)
    show_next(report.run, home)


def exit_code(report: RunReport, *, asked: bool = False) -> int:
    """0 for a run that succeeded. ``asked``: whether its own user wanted it cancelled."""
    if report.run.status == "succeeded":
        return exits.SUCCEEDED
    return exits.INTERRUPTED if asked and report.run.status == "cancelled" else exits.FAILED


@contextlib.contextmanager
def _framed(view: LiveView | PlainView) -> Iterator[None]:
    view.begin()
    try:
        yield
    finally:
        view.end()


def _hopeless(home: Home | None) -> ClusterUnusable | None:
    return hopeless(home) if home is not None else None


def _advice(home: Home | None) -> str:
    """What may be wrong when nothing moves."""
    if home is None:
        return "Do workers and beat run, on the same broker? nexusflow doctor looks."
    for name, (deaths, complaint) in ailing(home).items():
        return f"The process {name} ended {deaths} times: {complaint} Look into {home.logs / f'{name}.log'}."
    return f"The workers' logs are in {home.logs}."
