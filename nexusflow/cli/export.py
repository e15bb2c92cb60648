"""``nexusflow runs export``."""

from pathlib import Path

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import out, print_json, print_text, say
from nexusflow.errors import InvalidInput
from nexusflow.workflows.reports.report import find_run
from nexusflow.workflows.reports.run_export import export_test


def export_run(name: str, file: Path | None, *, workflow: str, as_json: bool) -> int:
    """Write a run as a test file: to ``file``, which must not be there yet, or to standard output."""
    with readable_cluster() as cluster:
        exported = export_test(cluster.tenant, find_run(cluster.tenant, name), workflow=workflow)
    if file is not None:
        _write(file, exported.source)
    if as_json:
        shown = str(file) if file is not None else None
        print_json({"run_id": exported.run, "file": shown, "source": exported.source, "notes": list(exported.notes)})
    elif file is None:
        print_text(exported.source)
    else:
        say(f"Wrote {file}.", "bold green", to=out())
        for note in exported.notes:
            say(f"  {note}", "yellow", to=out())
        say(f"  nexusflow test {file}  rehearses it", "dim", to=out())
    return exits.SUCCEEDED


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise InvalidInput(f"{file} is there already.", "Give another name.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(f"{file} cannot be written: {reason}.", "Give another place.") from None
