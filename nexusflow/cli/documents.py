"""Runs as programs get them (``--json``)."""

import datetime
from typing import Any

from nexusflow.cli.exits import error_document
from nexusflow.errors import NexusError
from nexusflow.workflows.reports.report import EventReport, RunReport
from nexusflow.workflows.reports.report_steps import StepReport


def run_document(report: RunReport) -> dict[str, Any]:
    """What ``run --json`` gives."""
    run = report.run
    return {
        "run_id": run.id,
        "status": run.status,
        "output": run.output,
        "error": run.error,
        "steps": [step_document(step) for step in report.steps],
    }


def refused_run_document(error: NexusError, run: str | None) -> dict[str, Any]:
    """The same form for a run that could not be started, or not be followed to its end (``run``: its id)."""
    return {"run_id": run, "status": None, "output": None, "error": error_document(error), "steps": []}


def shown_run_document(report: RunReport, events: list[EventReport]) -> dict[str, Any]:
    """What ``runs show --json`` gives: the same, and all that the API gives of a run."""
    run = report.run
    return run_document(report) | {
        "id": run.id,
        "workflow_id": run.workflow_id,
        "trigger": run.trigger,
        "parent": run.parent,
        "mock": run.mock,
        "workflow": run.workflow,
        "version": run.version,
        "ending": run.ending,
        "cause": run.cause,
        "input": run.input,
        "accepted_at": _time(run.accepted_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "seconds": round(run.seconds, 3),
        "waits_for": run.waits_for and vars(run.waits_for),
        "rerun_of": run.rerun_of,
        "rerun_from": run.rerun_from,
        "reruns": list(run.reruns),
        "events": [
            {"at": _time(each.at), "type": each.type, "step": each.step, "item": each.item, "data": each.data}
            for each in events
        ],
    }


def step_document(step: StepReport) -> dict[str, Any]:
    """One step; ``counts`` inside a loop, ``items`` for a foreach itself, ``iterations`` for an until, else null."""
    shown = step.as_dict()
    return shown | {name: _time(shown[name]) for name in ("started_at", "finished_at", "retry_at", "waits_until")}


def _time(moment: datetime.datetime | None) -> str | None:
    return moment.astimezone(datetime.UTC).isoformat() if moment is not None else None
