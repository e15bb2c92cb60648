"""Runs on the page: the list of them, and one with its graph, its times, its steps and its events."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import uuid_utils
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.calls import call
from api.dashboard.pages import PageRoute, is_part, redirect, render, signed_in, url
from api.dashboard.pictures import bars, graph, picture_of
from api.deps import identity
from nexusflow.auth.keys import Principal
from nexusflow.errors import NexusError
from nexusflow.workflows.reports.listing import list_runs
from nexusflow.workflows.reports.live import newest_events
from nexusflow.workflows.reports.report import read_progress, read_run
from nexusflow.workflows.reports.report_steps import awaited
from nexusflow.workflows.reports.step_details import read_items, read_step
from nexusflow.workflows.saved.library import list_workflows
from nexusflow.workflows.starts.control import cancel_run, pause_run, resume_run
from nexusflow.workflows.starts.rerunning import Asked, rerun

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PER_PAGE = 25
ITEMS_PER_PAGE = 10
EVENTS = 200
GROUPS = {
    "live": ("Live", {"queued", "running", "paused"}),
    "succeeded": ("Succeeded", {"succeeded"}),
    "failed": ("Failed", {"failed", "timed_out"}),
    "cancelled": ("Cancelled", {"cancelled"}),
}
Page = Annotated[int, Query(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Wanted:
    """What a list of runs is asked for."""

    status: str = ""
    workflow: str = ""
    text: str = ""
    page: int = 1

    def address(self, **changes: Any) -> str:
        """The list's address, with some of it changed."""
        return url("/", **({"status": self.status, "workflow": self.workflow, "text": self.text} | changes))

    def to_page(self, page: int) -> str:
        """Another page of the list."""
        return self.address(page=page)


@router.get("/")
async def runs_page(
    request: Request,
    status: str = "",
    workflow: str = "",
    text: Annotated[str, Query(max_length=200)] = "",
    page: Page = 1,
) -> Response:
    """The runs, newest first."""
    who = await signed_in(request)
    wanted = Wanted(status if status in GROUPS else "", workflow, text.strip(), page)
    asked: dict[str, Any] = {"page": page, "per_page": PER_PAGE, "text": wanted.text or None}
    if wanted.status:
        asked["status"] = GROUPS[wanted.status][1]
    if workflow:
        asked["workflow"] = identity(workflow, "workflow")
    runs = await call(list_runs, who.tenant, **asked)
    given: dict[str, Any] = {"runs": runs, "wanted": wanted, "groups": GROUPS}
    if is_part(request):
        return render("runs_part.html", **given)
    workflows = await call(list_workflows, who.tenant, per_page=100)
    return render("runs.html", tenant=who.tenant_name, workflows=workflows.items, **given)


@router.get("/runs/{run_id}")
async def run_page(
    request: Request, run_id: str, step: str = "", item: str = "", state: str = "", page: Page = 1
) -> Response:
    """One run; ``step``: the one that is shown in detail."""
    who = await signed_in(request)
    run = identity(run_id)
    if is_part(request):
        return render("run_part.html", **await call(_progress, who.tenant, run), chosen=step)
    given = await call(_progress, who.tenant, run)
    # Events first: what happens between the two looks is then told twice, not missed.
    news = await call(newest_events, who.tenant, run, EVENTS)
    whole = await call(read_run, who.tenant, run)
    details = await _details(who, run, step, item, state, page) if step else None
    values = {"news": news, "input": whole.run.input, "output": whole.run.output, "details": details, "chosen": step}
    return render("run.html", tenant=who.tenant_name, **given, **values)


@router.get("/runs/{run_id}/step")
async def step_part(
    request: Request, run_id: str, step: str, item: str = "", state: str = "", page: Page = 1
) -> Response:
    """One step in detail, to be put into a run's page."""
    who = await signed_in(request)
    run = identity(run_id)
    details = await _details(who, run, step, item, state, page)
    return render("step_part.html", run={"id": run}, details=details, chosen=step)


@router.post("/runs/{run_id}/cancel")
async def cancel(request: Request, run_id: str) -> Response:
    """Ask a run to end."""
    return await _changed(request, run_id, cancel_run)


@router.post("/runs/{run_id}/pause")
async def pause(request: Request, run_id: str) -> Response:
    """Hold a run."""
    return await _changed(request, run_id, pause_run)


@router.post("/runs/{run_id}/resume")
async def resume(request: Request, run_id: str) -> Response:
    """Let a paused run go on."""
    return await _changed(request, run_id, resume_run)


@router.post("/runs/{run_id}/rerun")
async def rerun_run(
    request: Request, run_id: str, begin: Annotated[str, Query(alias="from", max_length=1_000)], key: str = ""
) -> Response:
    """Repeat a run that is over, and go to the run that does; sent twice, it is one run."""
    who = await signed_in(request)
    once = f"page-{key}" if key else None
    made = await call(rerun, who.tenant, identity(run_id), Asked(begin), idempotency_key=once)
    return redirect(f"/runs/{made.id}")


async def _changed(request: Request, run_id: str, change: Callable[[str, str], str]) -> Response:
    who = await signed_in(request)
    run = identity(run_id)
    await call(change, who.tenant, run)
    return redirect(f"/runs/{run}")


def _progress(tenant: str, run: str) -> dict[str, Any]:
    """A run's report as the page draws it."""
    report = read_progress(tenant, run)
    now = datetime.datetime.now(datetime.UTC)
    picture = picture_of(tenant, report.version_id)
    return {
        "run": report.run,
        "steps": report.steps,
        "graph": graph(picture, report.steps, now),
        "bars": bars(report, now),
        "awaited": awaited(report.steps) if report.run.ending is None else [],
        "failing": [step for step in report.steps if step.failures],
        "key": str(uuid_utils.uuid4()),
    }


async def _details(who: Principal, run: str, path: str, item: str, state: str, page: int) -> dict[str, Any]:
    """What the panel of one step shows; a step that is not there is told in the panel."""
    try:
        step = await call(read_step, who.tenant, run, path, item)
        report = next(each for each in (await call(read_progress, who.tenant, run)).steps if each.path == path)
        items = None
        if step.has_items:
            items = await call(
                read_items, who.tenant, run, path, within=item, state=state, page=page, per_page=ITEMS_PER_PAGE
            )
    except NexusError as error:
        if error.status >= 500:
            raise
        return {"error": error}
    return {"error": None, "step": step, "report": report, "items": items, "state": state}
