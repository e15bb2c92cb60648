"""``nexusflow runs rerun`` and ``runs cancel``: by ids, or all runs that fit a filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli import runs as by_id
from nexusflow.cli.clusters import Cluster, readable_cluster
from nexusflow.cli.console import is_sure, out, print_json, say
from nexusflow.cli.inputs import parse_input, stand_in
from nexusflow.cli.records import local, show_table
from nexusflow.cli.runs import Filters, error_of, status_of
from nexusflow.connectors.base import FileRef
from nexusflow.errors import InvalidInput
from nexusflow.workflows.reports.listing import RunLine, matching_runs
from nexusflow.workflows.reports.report import find_run
from nexusflow.workflows.rows.files import keep_file
from nexusflow.workflows.starts.bulk import FAILED_RUNS, LIVE_RUNS, cancel_each, rerun_each
from nexusflow.workflows.starts.rerun_preview import preview
from nexusflow.workflows.starts.rerunning import Asked, Version, input_of, prepare
from nexusflow.workflows.starts.rerunning import rerun as rerun_one

SHOWN = 20
"""Runs that are listed before one is asked whether one is sure."""
WAS = {
    "succeeded": "had succeeded: done once more",
    "unfinished": "had not succeeded: tried again",
    "not begun": "for the first time",
}


@dataclass(frozen=True)
class Many:
    """Which runs: ``names`` by id, or else those that fit the ``filters``."""

    names: list[str]
    filters: Filters
    limit: int
    dry_run: bool
    sure: bool

    def check(self) -> None:
        """Raises InvalidInput for ids and a filter at once, or neither."""
        if bool(self.names) == (not self.filters.is_empty):
            message = "Give ids of runs, or flags that say which are meant, not both."
            hint = "nexusflow runs rerun ID, or nexusflow runs rerun --workflow NAME --since 1d"
            raise InvalidInput(message if self.names else "It is not said which runs are meant.", hint)

    def found(self, cluster: Cluster, otherwise: frozenset[str]) -> list[RunLine]:
        """The runs that fit; ``otherwise``: of these statuses, where none is asked for."""
        asked = self.filters.asked(cluster.tenant)
        return matching_runs(cluster.tenant, self.limit, **asked | {"status": asked["status"] or set(otherwise)})


def cancel(many: Many, *, as_json: bool) -> int:
    """Cancel runs."""
    many.check()
    if many.names and not many.dry_run:
        return by_id.cancel(many.names, as_json=as_json)
    with readable_cluster() as cluster:
        runs = _meant(cluster, many, LIVE_RUNS)
        if not _go_on(many, runs, "Cancel", as_json=as_json):
            return exits.SUCCEEDED
        ids = [each.id for each in runs]
        answer = cancel_each(cluster.tenant, ids, dry_run=many.dry_run)
    if as_json:
        print_json({"dry_run": many.dry_run, "matched": len(runs)} | answer)
    elif many.dry_run:
        say(f"{len(runs):,} runs would be cancelled.")
    else:
        say(f"{answer['done']:,} runs are being cancelled: nothing new starts in them.", "bold green")
    return exits.SUCCEEDED


def rerun(many: Many, begin: str | None, version: str | None, given: list[str], *, as_json: bool) -> int:
    """Repeat runs."""
    many.check()
    if given and len(many.names) != 1:
        raise InvalidInput("Another input is given to one run at a time.", "Give one ID, or leave --input out.")
    number = _version(version)
    with readable_cluster() as cluster:
        if many.names:
            runs = list(dict.fromkeys(find_run(cluster.tenant, name) for name in many.names))
            value = _input(cluster, runs[0], number, given, keep=not many.dry_run) if given else None
            asked = Asked(begin, number, value)
            return (_preview_named if many.dry_run else _rerun_named)(cluster, runs, asked, as_json=as_json)
        found = _meant(cluster, many, FAILED_RUNS)
        if not _go_on(many, found, "Repeat", as_json=as_json):
            return exits.SUCCEEDED
        ids = [each.id for each in found]
        answer = rerun_each(cluster.tenant, ids, Asked(begin, number), dry_run=many.dry_run)
    if as_json:
        print_json({"dry_run": many.dry_run, "matched": len(found)} | answer)
        return exits.SUCCEEDED
    _tell_refused(answer["runs"])
    if many.dry_run:
        say(f"{answer['done']:,} runs would be repeated.")
        show_effects(answer["effects"])
    else:
        say(f"{answer['done']:,} runs are repeated: nexusflow runs list --trigger rerun", "bold green")
    return exits.SUCCEEDED


def _version(text: str | None) -> Version:
    if text is None:
        return None
    if text == "latest":
        return "latest"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) < 2**31:
        raise InvalidInput(f"--version {text[:40]} is no version.", "Give a number, or latest.")
    return int(text)


def _input(cluster: Cluster, run: str, version: Version, given: list[str], *, keep: bool) -> dict[str, Any]:
    """The run's input with what is given in it; files are kept, unless it is only looked at."""
    had, schema = input_of(cluster.tenant, run, version)

    def kept(path: Path) -> FileRef:
        with path.open("rb") as file:
            return keep_file(cluster.tenant, path.name, file)

    return had | parse_input(given, schema).resolved(kept if keep else stand_in)


def _rerun_named(cluster: Cluster, runs: Sequence[str], asked: Asked, *, as_json: bool) -> int:
    for run in runs[1:]:
        prepare(cluster.tenant, run, asked)  # none is repeated unless all of them can be
    made = [rerun_one(cluster.tenant, run, asked) for run in runs]
    if as_json:
        shown = [{"id": each.id, "rerun_of": each.rerun_of, "from": each.begin} for each in made]
        print_json([one | {"version": each.version, "kept": each.kept} for one, each in zip(shown, made, strict=True)])
        return exits.SUCCEEDED
    for each in made:
        kept = f", keeping {each.kept:,} records" if each.kept else ""
        say(f"Run {each.id} repeats {each.rerun_of} from {each.begin}, version {each.version}{kept}.", "bold green")
    return exits.SUCCEEDED


def _preview_named(cluster: Cluster, runs: Sequence[str], asked: Asked, *, as_json: bool) -> int:
    found = [preview(cluster.tenant, run, asked) for run in runs]
    if as_json:
        print_json([each.as_dict() for each in found])
        return exits.SUCCEEDED
    for each in found:
        say(f"Run {each.run_id} from {each.begin}, version {each.version}:", "bold", to=out())
        say(f"  kept: {', '.join(_times(name, count) for name, count in each.kept.items()) or 'nothing'}", to=out())
        say(f"  done: {', '.join(each.redone) or 'nothing'}", to=out())
        show_effects([vars(effect) for effect in each.effects])
    return exits.SUCCEEDED


def _times(name: str, count: int) -> str:
    return f"{name} ({count:,})" if count > 1 else name


def show_effects(effects: Sequence[dict[str, Any]]) -> None:
    """A table of what would be done outside of NexusFlow."""
    show_table(
        ("Action", "Connection", "Times", "Keys", "Why"),
        [
            (
                f"{each['action']}{' at ' + each['step'] if 'step' in each else ''}",
                each["connection"] or "",
                _how_often(each),
                each["keys"],
                WAS[each["was"]],
            )
            for each in effects
        ],
        "Nothing is done outside of NexusFlow.",
    )


def _how_often(effect: dict[str, Any]) -> str:
    if effect["times"] is None:
        return "as items come"
    return f"{effect['times']:,}{' or more' if effect.get('at_least') else ''}"


def _meant(cluster: Cluster, many: Many, otherwise: frozenset[str]) -> list[RunLine]:
    if not many.names:
        return many.found(cluster, otherwise)
    runs = dict.fromkeys(find_run(cluster.tenant, name) for name in many.names)
    return [line for run in runs for line in matching_runs(cluster.tenant, 1, text=run)]


def _go_on(many: Many, runs: Sequence[RunLine], doing: str, *, as_json: bool) -> bool:
    """Whether there is anything to do, and one is sure."""
    if not as_json:
        _list(runs)
    if not runs or many.dry_run or many.sure:
        return bool(runs) or as_json
    return is_sure(f"{doing} these {len(runs):,} runs?", f"To {doing.lower()} {len(runs):,} runs")


def _list(runs: Sequence[RunLine]) -> None:
    rows = [
        (local(each.accepted_at), each.id, Text(each.workflow, "bold"), status_of(each), Text(error_of(each), "red"))
        for each in runs[:SHOWN]
    ]
    show_table(("Accepted", "Run", "Workflow", "Status", "Error"), rows, "No runs.")
    if len(runs) > SHOWN:
        say(f"… and {len(runs) - SHOWN:,} more", "dim", to=out())


def _tell_refused(runs: Sequence[dict[str, Any]]) -> None:
    for each in runs:
        if each["error"] is not None:
            say(f"Run {each['run_id']}: {each['error']['message']}", "yellow")
