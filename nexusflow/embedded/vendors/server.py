"""All local vendors in one event loop: one HTTP port (a path a vendor) and one SMTP port."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from nexusflow.embedded.vendors.calls import CallLog
from nexusflow.embedded.vendors.connections import BUCKET
from nexusflow.embedded.vendors.contacts import Contacts
from nexusflow.embedded.vendors.faults import FaultGate, Faults
from nexusflow.embedded.vendors.hubspot import LocalHubSpot
from nexusflow.embedded.vendors.objects import ObjectStore
from nexusflow.embedded.vendors.openai import LocalOpenAI
from nexusflow.embedded.vendors.s3 import LocalS3
from nexusflow.embedded.vendors.smtp import MailKeeper, serve_smtp


@dataclass(frozen=True)
class Options:
    """How the vendors run. ``directory`` keeps their data; a port of 0 is a free one."""

    directory: Path
    port_file: Path
    log: Path
    port: int = 0
    smtp_port: int = 0


class Admin:
    """What no vendor has: ``GET /_calls``, ``POST`` and ``DELETE /_faults``."""

    def __init__(self, calls: CallLog, faults: Faults) -> None:
        self._calls, self._faults = calls, faults

    def routes(self) -> list[Route]:
        """The paths at the root."""
        return [
            Route("/_calls", self._list_calls, methods=["GET"]),
            Route("/_faults", self._change_faults, methods=["POST", "DELETE"]),
        ]

    async def _list_calls(self, request: Request) -> Response:
        asked = request.query_params
        return JSONResponse(self._calls.of(asked.get("vendor", ""), asked.get("operation", "")))

    async def _change_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.clear()
            return Response(status_code=204)
        try:
            self._faults.add(await request.json())
        except (ValueError, TypeError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(status_code=204)


async def serve(options: Options) -> None:
    """Run until SIGTERM or SIGINT; the port file appears when both ports answer."""
    calls, faults = CallLog(options.log), Faults()
    contacts = Contacts(options.directory / "hubspot" / "contacts.jsonl")
    store = ObjectStore(options.directory / "s3")
    store.make_bucket(BUCKET)
    routes = [
        *Admin(calls, faults).routes(),
        Mount("/openai", routes=LocalOpenAI(calls).routes()),
        Mount("/hubspot", routes=LocalHubSpot(calls, contacts).routes()),
        Mount("/s3", routes=LocalS3(calls, store).routes()),
    ]
    keeper = MailKeeper(calls, faults, options.directory / "mail")
    smtp = await serve_smtp(keeper, options.smtp_port)
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    web = _WebServer(
        uvicorn.Config(
            FaultGate(Starlette(routes=routes), faults, calls),
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=75,
        )
    )
    serving = asyncio.create_task(web.serve(sockets=[listener]))
    while not web.started and not serving.done():
        await asyncio.sleep(0.005)
    ports = {"http": listener.getsockname()[1], "smtp": smtp.sockets[0].getsockname()[1], "pid": os.getpid()}
    _write_whole(options.port_file, json.dumps(ports))
    await _until_told_to_stop(serving)
    # At once: calls that are under way are dropped, as when a vendor goes down.
    os._exit(0)


class _WebServer(uvicorn.Server):
    """uvicorn, without its own signal handlers and its patient farewell."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: the process has its own."""
        yield


async def _until_told_to_stop(serving: "asyncio.Task[None]") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
