"""One step of a run in detail: its output, its error, its attempts, and the items of a foreach."""

from fastapi import APIRouter

router = APIRouter(prefix="/v2", tags=["runs"])
