"""``nexusflow run``: check, start, follow, tell."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from nexusflow.cli import exits
from nexusflow.cli.clusters import Cluster, usable_cluster
from nexusflow.cli.console import print_json, say
from nexusflow.cli.documents import refused_run_document
from nexusflow.cli.following import exit_code, follow, tell
from nexusflow.cli.inputs import GivenInput, parse_input, stand_in
from nexusflow.cli.interruption import Interruption, LeaveNow
from nexusflow.cli.sources import Source, check_source, read_source, show_invalid
from nexusflow.connectors.base import FileRef
from nexusflow.errors import InvalidDefinition, NexusError
from nexusflow.workflows.rows.files import keep_file
from nexusflow.workflows.starts.service import checked_input, save_version, start_run


class RunCommand:
    """One run of one file."""

    def __init__(self, name: str, given: list[str], *, mock: bool, as_json: bool) -> None:
        self._name, self._given, self._mock, self._as_json = name, given, mock, as_json
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
        self._run = run = start_run(cluster.tenant, version, values, mock=self._mock)
        try:
            title = f"Run {run} of {version.name}, version {version.number}."
            report, with_table = follow(cluster, run, title, interruption)
        except LeaveNow:
            self._leave(run)
        interruption.patient = False
        tell(report, cluster.home, with_table=with_table, as_json=self._as_json)
        return exit_code(report, asked=interruption.asked)

    def _leave(self, run: str) -> None:
        """Be gone at once; an embedded cluster stops by itself when its last user is gone, and the run waits in it."""
        say(f"Left run {run} to itself. See nexusflow runs show {run}.", "yellow")
        if self._as_json:
            print_json(self.failed(NexusError("INTERRUPTED", "Interrupted before the run was over.", status=499)))
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exits.INTERRUPTED)


def _keep(tenant: str, path: Path) -> FileRef:
    with path.open("rb") as file:
        return keep_file(tenant, path.name, file)
