"""``nexusflow run``: check, start, follow, tell."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nexusflow.cli import exits
from nexusflow.cli.clusters import Cluster, usable_cluster
from nexusflow.cli.console import err, print_json, say
from nexusflow.cli.documents import refused_run_document, run_document
from nexusflow.cli.inputs import GivenInput, parse_input, stand_in
from nexusflow.cli.interruption import Interruption, LeaveNow
from nexusflow.cli.progress import LiveView, PlainView, view_for_stderr
from nexusflow.cli.render import steps_table
from nexusflow.cli.results import show_ending, show_next, show_output
from nexusflow.cli.sources import Source, check_source, read_source, show_invalid
from nexusflow.cli.watch import Watch
from nexusflow.connectors.base import FileRef
from nexusflow.embedded.cluster import ailing, hopeless
from nexusflow.embedded.home import Home
from nexusflow.errors import ClusterUnusable, InvalidDefinition, NexusError
from nexusflow.workflows.files import keep_file
from nexusflow.workflows.report import RunReport, read_run
from nexusflow.workflows.service import checked_input, save_version, start_run

MAX_ROWS = 60
"""Steps shown at the end of a run; ``runs show`` shows all."""


class RunCommand:
    """One run of one file."""

    def __init__(self, name: str, given: list[str], *, as_json: bool) -> None:
        self._name, self._given, self._as_json = name, given, as_json
        self._source: Source | None = None
        self._run: str | None = None

    def failed(self, error: NexusError) -> dict[str, Any]:
        """The document for a run that could not be started or followed."""
        return refused_run_document(error, self._run)

    def perform(self) -> int:
        """Run it. What is invalid is said before anything is started."""
        with Interruption() as interruption:
            try:
                self._source = read_source(self._name)
                definition = check_source(self._source)
            except InvalidDefinition as error:
                if self._as_json:
                    raise
                show_invalid(self._name, error, self._source.content if self._source else None)
                return exits.INVALID
            given = parse_input(self._given, definition.input.schema_)
            checked_input(definition, given.resolved(stand_in))
            with usable_cluster(lambda line: say(line[:1].upper() + line[1:] + " …", "dim")) as cluster:
                return self._on(cluster, self._source, given, interruption)

    def _on(self, cluster: Cluster, source: Source, given: GivenInput, interruption: Interruption) -> int:
        version = save_version(cluster.tenant, source.content)
        values = given.resolved(lambda path: _keep(cluster.tenant, path))
        interruption.patient = True
        self._run = run = start_run(cluster.tenant, version, values)
        view = view_for_stderr()
        home = cluster.home
        watch = Watch(cluster.tenant, run, view, interruption, lambda: _advice(home), lambda: _hopeless(home))
        try:
            with _framed(view):
                view.note(f"Run {run} of {version.name}, version {version.number}.")
                watch.follow()
            report = read_run(cluster.tenant, run, whole=True)
        except LeaveNow:
            self._leave(run)
        interruption.patient = False
        self._tell(report, cluster.home, with_table=isinstance(view, LiveView))
        return _exit_code(report, asked=interruption.asked)

    def _tell(self, report: RunReport, home: Home | None, *, with_table: bool) -> None:
        if with_table:
            err().print(steps_table(err(), report.steps[:MAX_ROWS]))
            if len(report.steps) > MAX_ROWS:
                say(f"  … {len(report.steps) - MAX_ROWS:,} more", "dim")
        if self._as_json:
            print_json(run_document(report))
            return
        show_ending(report)
        if report.run.status == "succeeded":
            show_output(report.run.output)
        show_next(report.run, home)

    def _leave(self, run: str) -> None:
        """Be gone at once; an embedded cluster stops by itself when its last user is gone, and the run waits in it."""
        say(f"Left run {run} to itself. See nexusflow runs show {run}.", "yellow")
        if self._as_json:
            print_json(self.failed(NexusError("INTERRUPTED", "Interrupted before the run was over.", status=499)))
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exits.INTERRUPTED)


@contextlib.contextmanager
def _framed(view: LiveView | PlainView) -> Iterator[None]:
    view.begin()
    try:
        yield
    finally:
        view.end()


def _keep(tenant: str, path: Path) -> FileRef:
    with path.open("rb") as file:
        return keep_file(tenant, path.name, file)


def _exit_code(report: RunReport, *, asked: bool) -> int:
    if report.run.status == "succeeded":
        return exits.SUCCEEDED
    return exits.INTERRUPTED if asked and report.run.status == "cancelled" else exits.FAILED


def _hopeless(home: Home | None) -> ClusterUnusable | None:
    return hopeless(home) if home is not None else None


def _advice(home: Home | None) -> str:
    """What may be wrong when nothing moves."""
    if home is None:
        return "Do workers and beat run, on the same broker? nexusflow doctor looks."
    for name, (deaths, complaint) in ailing(home).items():
        return f"The process {name} ended {deaths} times: {complaint} Look into {home.logs / f'{name}.log'}."
    return f"The workers' logs are in {home.logs}."
