"""The front end as an ASGI application: ``uvicorn api.app:create_app --factory``."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import dashboard, live, reference
from api.calls import desk
from api.door import Door
from api.errors import add_error_handlers
from api.limits import rate_limit
from api.routes import (
    definitions,
    events,
    exports,
    files,
    health,
    metrics,
    reruns,
    runs,
    schedules,
    signals,
    steps,
    workflows,
)
from nexusflow.errors import NexusError
from nexusflow.log import configure_logging, get_logger
from nexusflow.settings import get_settings


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """From the first request to the last. The database need not be there: requests get a 503 until it is."""
    log = get_logger(__name__)
    desk(), rate_limit()
    live.prepare()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: later collections need not look at it
    log.info("web.started", threads=desk().threads)
    yield
    desk().close()
    log.info("web.stopped")


def create_app() -> FastAPI:
    """The application, of the settings in the environment. Raises SystemExit where those cannot be used."""
    try:
        get_settings()
        configure_logging()
    except NexusError as error:
        wrong = " ".join(each.message for each in error.details)
        raise SystemExit(f"{error} {wrong}") from None
    app = FastAPI(
        title="NexusFlow",
        version="2",
        summary="Durable workflow automation: save workflows, start runs, watch them, get their results.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.add_middleware(Door)
    add_error_handlers(app)
    for router in (
        runs.router,  # the most asked for comes first: routes are tried in turn
        reruns.router,
        steps.router,
        exports.router,
        events.router,
        signals.router,
        workflows.router,
        schedules.router,
        definitions.router,
        files.router,
        health.router,
        metrics.router,
        reference.router,
        dashboard.router,
    ):
        app.include_router(router)
    reference.describe(app)
    return app
