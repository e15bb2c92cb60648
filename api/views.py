"""What services give, as answers show it. The names and forms here are the API's promise; see ``shapes.py``."""

from dataclasses import asdict
from typing import Any

from nexusflow.connectors.base import Action
from nexusflow.workflows.reports.listing import RunLine
from nexusflow.workflows.reports.report import RunSummary
from nexusflow.workflows.saved.library import VersionDiff, VersionSummary, WorkflowDetail, WorkflowSummary
from nexusflow.workflows.starts.rerunning import Rerun


def workflow_view(workflow: WorkflowSummary) -> dict[str, Any]:
    """A workflow without its definition."""
    return dict(vars(workflow))


def workflow_detail_view(detail: WorkflowDetail) -> dict[str, Any]:
    """A workflow with one version's definition."""
    return workflow_view(detail.workflow) | {
        "version": version_view(detail.version),
        "source": detail.source,
        "definition": detail.definition,
        "input_schema": detail.input_schema,
    }


def version_view(version: VersionSummary) -> dict[str, Any]:
    """A version without its definition."""
    return dict(vars(version))


def diff_view(diff: VersionDiff) -> dict[str, Any]:
    """What two versions differ in."""
    return {"from": diff.from_, "to": diff.to, "text": diff.text, "steps": [asdict(each) for each in diff.steps]}


def run_line_view(run: RunLine) -> dict[str, Any]:
    """A run in a list."""
    return vars(run) | {"seconds": round(run.seconds, 3)}


def run_view(run: RunSummary) -> dict[str, Any]:
    """A run with its input and output."""
    return vars(run) | {"seconds": round(run.seconds, 3), "waits_for": run.waits_for and vars(run.waits_for)}


def accepted_view(run: str, workflow: str) -> dict[str, Any]:
    """A run that was just accepted."""
    return {"id": run, "workflow_id": workflow, "status": "queued"}


def rerun_view(made: Rerun) -> dict[str, Any]:
    """A run that repeats another one and was just accepted."""
    told = {"rerun_of": made.rerun_of, "from": made.begin, "version": made.version, "kept": made.kept}
    return accepted_view(made.id, made.workflow_id) | told


def action_view(action: Action) -> dict[str, Any]:
    """An action with its schemas."""
    return {
        "name": action.name,
        "summary": action.summary,
        "queue": action.queue,
        "connection": action.connection,
        "pure": action.pure,
        "input": action.input.model_json_schema(by_alias=True),
        "output": action.output.model_json_schema(by_alias=True) if action.output else {},
    }
