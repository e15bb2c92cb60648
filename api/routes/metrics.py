"""What Prometheus scrapes: this process's requests, and the cluster as its rows show it."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import generate_latest
from starlette.responses import Response

from api.calls import call
from api.deps import StrictRoute
from api.door import registry
from api.errors import Refused
from nexusflow.operations.metrics import render

router = APIRouter(tags=["health"], route_class=StrictRoute)

AWAY = (
    b"# HELP nexusflow_database_up 1 while PostgreSQL answers.\n"
    b"# TYPE nexusflow_database_up gauge\nnexusflow_database_up 0.0\n"
)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Metrics in Prometheus's text format. No tenant is named."""
    try:
        cluster, kind = await call(render)
    except Refused:  # the database hangs
        cluster, kind = AWAY, "text/plain; version=0.0.4; charset=utf-8"
    return Response(generate_latest(registry) + cluster, media_type=kind)
