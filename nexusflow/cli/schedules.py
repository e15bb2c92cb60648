"""``nexusflow schedules``."""

import datetime

import orjson
from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import out, print_json, say
from nexusflow.cli.render import style_of, words
from nexusflow.workflows.language.timing import Timing
from nexusflow.workflows.saved.saved import find_workflow
from nexusflow.workflows.saved.schedules import ScheduleReport, TickReport, list_schedules

_DAYS = 86_400


def show_schedules(workflow: str | None, *, as_json: bool) -> int:
    """Print the schedules of the published workflows, or of one: when they tick next, and what their last ticks did."""
    with readable_cluster() as cluster:
        wanted = None if workflow is None else find_workflow(cluster.tenant, workflow)
        schedules = list_schedules(cluster.tenant, wanted)
    if as_json:
        print_json(orjson.loads(orjson.dumps([each.as_dict() for each in schedules])))  # times as ISO 8601
    elif not schedules:
        say("No schedules. A published workflow's `triggers` make them: [{type: schedule, interval: 15m}].", to=out())
    for number, schedule in enumerate(() if as_json else schedules):
        if number:
            say(to=out())
        _show(schedule)
    return exits.SUCCEEDED


def when(timing: Timing) -> str:
    """A schedule in a few words: ``0 7 * * 1-5 (Europe/Berlin)``, ``every 15m``."""
    if timing.interval is None:
        return f"{timing.cron} ({timing.timezone})"
    left, parts = timing.interval, []
    for unit, seconds in (("d", _DAYS), ("h", 3600), ("m", 60)):
        count, left = divmod(left, seconds)
        parts += [f"{count:g}{unit}"] if count else []
    return f"every {''.join(parts)}{f'{left:g}s' if left else ''}"


def _show(schedule: ScheduleReport) -> None:
    name = f" {schedule.name}" if schedule.name else ""
    title = Text.assemble((schedule.workflow, "bold"), name, f" · {when(schedule.timing)}")
    out().print(title, soft_wrap=True)
    following = ", ".join(map(_local, schedule.next_times)) or "never: publish the workflow again"
    say(f"  next  {following}", "" if schedule.next_times else "red", to=out())
    for tick in schedule.ticks:
        out().print(_tick(tick), soft_wrap=True)


def _tick(tick: TickReport) -> Text:
    state = tick.run_status or tick.state
    line = Text.assemble("  last  ", (_local(tick.at), "dim"), " ", (words(state), style_of(state)))
    if tick.run_id:
        line.append(f" {tick.run_id}")
    if tick.error and tick.state == "failed":
        line.append(f" {tick.error.get('message', '')} [{tick.error.get('code', '')}]", "red")
    return line


def _local(moment: datetime.datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
