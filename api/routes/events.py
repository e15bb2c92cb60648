"""What happens, as it happens: server-sent events of one run and of all a tenant's runs."""

from fastapi import APIRouter

router = APIRouter(prefix="/v2", tags=["events"])
