"""``nexusflow runs show``."""

import json
from typing import Any

from rich.table import Table
from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import out, print_json, say
from nexusflow.cli.documents import shown_run_document
from nexusflow.cli.render import awaiting, headline, steps_table, style_of
from nexusflow.cli.results import WHO_ACTS, show_output
from nexusflow.workflows.reports.report import EventReport, RunReport, find_run, read_events, read_run
from nexusflow.workflows.reports.report_steps import StepReport

EVENTS = 20
INPUT_WIDTH = 400


def show_run(name: str, *, as_json: bool) -> int:
    """Print a run: from the cluster that runs, or from the records of one that is stopped."""
    with readable_cluster() as cluster:
        run = find_run(cluster.tenant, name)
        report = read_run(cluster.tenant, run, whole=True)
        events = read_events(cluster.tenant, run, EVENTS, everything=as_json)
    if as_json:
        print_json(shown_run_document(report, events))
    else:
        _show(report, events)
    return exits.SUCCEEDED


def _show(report: RunReport, events: list[EventReport]) -> None:
    run = report.run
    out().print(headline(run), soft_wrap=True)
    by = run.trigger if run.parent is None else f"step {run.parent['step']} of run {run.parent['run_id']}"
    by += ", with mocks" if run.mock else ""
    say(f"Version {run.version}, started by {by}, accepted {_local(run.accepted_at)}", "dim", to=out())
    if run.rerun_of is not None:
        say(f"Repeats run {run.rerun_of} from {run.rerun_from}", "dim", to=out())
    if run.reruns:
        say(f"Repeated by run {', '.join(run.reruns)}", "dim", to=out())
    if run.input:
        text = json.dumps({key: _brief(value) for key, value in run.input.items()}, ensure_ascii=False)
        say(f"Input: {text[:INPUT_WIDTH]}{'…' if len(text) > INPUT_WIDTH else ''}", "dim", to=out())
    if (waits := awaiting(report)) is not None:
        out().print(waits, soft_wrap=True)
    say(to=out())
    out().print(steps_table(out(), report.steps))
    failing = [step for step in report.steps if step.failures and step.state not in ("succeeded", "running")]
    if run.error or failing:
        say("\nErrors", "bold", to=out())
        if run.error and not any(step.path == run.error.get("step") for step in failing):
            _error("the run", run.error)
        for step in failing:
            _failures(step)
        if run.cause in WHO_ACTS and run.status != "cancelled":
            say(f"Who has to act: {run.cause} ({WHO_ACTS[run.cause]}).", "dim", to=out())
    if run.output is not None:
        say("\nOutput", "bold", to=out())
        show_output(run.output)
    say("\nLatest events", "bold", to=out())
    out().print(_events(events))


def _brief(value: Any) -> Any:
    """A file's reference by the file's name."""
    return f"@{value.get('name')}" if isinstance(value, dict) and "$file" in value else value


def _failures(step: StepReport) -> None:
    for failure in step.failures:
        item = f" (item {failure.item})" if failure.item else ""
        again = f", attempt {failure.attempts}" if failure.attempts > 1 else ""
        _error(f"{step.path}{item}{again}", failure.error)
    more = (step.counts or {}).get("failed", 0) - len(step.failures)
    if more > 0:
        say(f"  … and {more:,} more", "dim", to=out())


def _error(place: str, error: dict[str, Any]) -> None:
    code = f"  [{error.get('code', '')}]"
    out().print(
        Text.assemble((f"{place}: ", "bold"), (str(error.get("message", "")), "red"), (code, "dim")), soft_wrap=True
    )
    if error.get("hint"):
        say(f"  {error['hint']}", to=out())


def _events(events: list[EventReport]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for event in events:
        state = event.type.partition(".")[2]
        place = f"{event.step or ''}{f' item {event.item}' if event.item else ''}"
        table.add_row(
            Text(_local(event.at), "dim"), Text(event.type, style_of(state)), place, Text(_told(event.data), "dim")
        )
    return table


def _told(data: dict[str, Any]) -> str:
    error = data.get("error") or {}
    attempts = f"attempt {data['attempts']} " if data.get("attempts", 1) > 1 else ""
    reason = str(data.get("reason", ""))
    event = f"{data['event']} {data.get('key', '')}" if "signal" in data else ""
    return f"{attempts}{error.get('message', '')}{reason}{event}"[:160]


def _local(moment: Any) -> str:
    return str(moment.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
