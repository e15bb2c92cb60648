"""The page: runs as they happen, one run as graph and timeline, workflows with forms to start them.

Rendered here and complete without scripts; scripts only make it live.
"""

from fastapi import APIRouter

from api.dashboard import runs, session, workflows

router = APIRouter(include_in_schema=False)
for part in (session, runs, workflows):
    router.include_router(part.router)
