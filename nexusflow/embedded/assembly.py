"""A cluster as one thing: its servers and the Procfile's processes, started, kept alive and stopped in order."""

import datetime
import os
import socket
import time
from collections.abc import Callable
from functools import partial

import nexusflow
from nexusflow.embedded import celery_process, web_process
from nexusflow.embedded.cluster_info import ClusterInfo
from nexusflow.embedded.forks import FORKS, Forked
from nexusflow.embedded.front_end import Place, asked
from nexusflow.embedded.home import Home, write_private
from nexusflow.embedded.parts import MOST_DEATHS, Part, end_leftovers, remember, stop_together
from nexusflow.embedded.procfile import WEB, arguments, celery_processes
from nexusflow.embedded.servers import Servers
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import Settings

BUSY_GRACE, IDLE_GRACE = 6.0, 0.3
DRAIN_MARGIN = 6.0
"""Seconds beyond their own limit (``drain_seconds``) that the workers of a cluster that stays get to end."""
JUST_SECONDS = 2.0
"""Who leaves with the front end a moment before is one who ran the cluster as a service."""
SHOWN_LINES = 8


class Assembly:
    """The cluster of one home. Only the holder of the home's supervisor lock may make one."""

    def __init__(self, home: Home, servers: Servers, report: Callable[[str], None]) -> None:
        self._home = home
        self._servers = servers
        self._report = report
        self._parts: list[Part] = []
        self._processes: dict[str, Forked] = {}
        self._environment: dict[str, str] = {}
        self._info: ClusterInfo | None = None
        self._place: Place | None = None
        self._listener: socket.socket | None = None
        self._asked_at = float("-inf")
        self.is_hurried = False
        """Whether a stop should wait for nothing."""

    def start(self) -> None:
        """Start everything and write ``cluster.json``. Raises ClusterUnusable; then call ``stop``."""
        end_leftovers(self._home)
        self._servers.start(self._preload)
        self._parts += self._servers.parts
        self._environment = {**os.environ, **self._servers.environment, "PYTHONUNBUFFERED": "1"}
        self._report("starting the workers and beat")
        for name, command in celery_processes().items():
            words = arguments(command)
            self._launch(name, partial(celery_process.run, words), celery_process.__name__, words)
        self._mind_front_end()
        self._save()

    def tend(self) -> None:
        """Start again what ended by itself, begin or end the front end as it is asked for, keep the logs short."""
        changed = [part for part in self._parts if part.tend()]
        for part in changed:
            self._tell(part)
        if changed:
            remember(self._home, self._parts)
            write_private(self._home.health_file, {part.name: _health(part) for part in self._parts if part.deaths})
        for part in self._parts:
            part.child().bound_log()
        if self._mind_front_end():
            self._save()

    def stop(self) -> None:
        """Stop everything: the front end and the workers first, PostgreSQL last."""
        self._home.cluster_file.unlink(missing_ok=True)
        self._close()
        if self._processes:
            grace = self._grace()
            stop_together(self._processes.values(), grace, lambda: self.is_hurried, insist=grace > IDLE_GRACE)
        self._servers.stop()
        self._home.pids_file.unlink(missing_ok=True)

    def _preload(self) -> None:
        """Import what the processes need while the servers start."""
        if not FORKS:
            return
        celery_process.preload(*self._servers.modules)
        if asked(self._home) is not None:
            web_process.preload()
        celery_process.share_memory()

    def _launch(
        self, name: str, work: Callable[[], int], module: str, words: list[str], listener: socket.socket | None = None
    ) -> None:
        process = Forked(
            name,
            work,
            module,
            words,
            log=self._home.logs / f"{name}.log",
            env=self._environment,
            cwd=self._home.run,
            listener=listener,
        )
        self._processes[name] = process
        self._parts.append(Part(name, lambda: process, process.start))
        process.start()

    def _mind_front_end(self) -> bool:
        """Begin or end the front end as somebody asks for it; whether anything changed."""
        place = asked(self._home)
        if place is not None:
            self._asked_at = time.monotonic()
        if place == self._place:
            return False
        if WEB in self._processes:
            self._close()
            stop_together([self._processes.pop(WEB)], self._servers.web_grace + 1)
            self._parts = [part for part in self._parts if part.name != WEB]
        self._place = place
        if place is None:
            self._asked_at = time.monotonic()
            return True
        try:
            self._listener = place.listen()
        except ClusterUnusable as error:
            self._report(f"{error.message} {error.hint}")  # whoever asked gives up waiting for it
            return False
        work = partial(web_process.run, self._servers.web_grace)
        words = ["--grace", str(self._servers.web_grace)]
        self._launch(WEB, work, web_process.__name__, words, self._listener)
        return True

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _save(self) -> None:
        """Write down what runs."""
        web = {} if self._listener is None else {WEB: self._listener.getsockname()[1]}
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._info = ClusterInfo(
            home=str(self._home.path),
            version=nexusflow.__version__,
            started_at=self._info.started_at if self._info else now,
            environment=self._servers.environment,
            owner_database_url=self._servers.owner_url,
            pids={"supervisor": os.getpid(), **{part.name: part.child().pid or 0 for part in self._parts}},
            ports={**self._servers.ports, **web},
        )
        remember(self._home, self._parts)
        self._info.save()

    def _grace(self) -> float:
        busy = self._servers.busy()
        if busy == 0:  # an idle worker keeps nothing worth waiting for
            return IDLE_GRACE
        if time.monotonic() - self._asked_at > JUST_SECONDS:
            return BUSY_GRACE
        drain = Settings().drain_seconds
        if busy:
            self._report(f"waiting for {busy:,} running step{'s' if busy > 1 else ''}, {drain:.0f} s at most")
        return drain + DRAIN_MARGIN

    def _tell(self, part: Part) -> None:
        """One line for each thing that happened to a part, and the end of its log where it ended."""
        if not part.is_down:
            self._report(f"{part.name} runs again")
            return
        if part.deaths > MOST_DEATHS and not part.has_lived:
            return
        again = "it cannot run here; trying on" if part.is_hopeless else "starting it again"
        self._report(f"{part.name} ended unexpectedly ({part.child().how_it_ended()}), {again}")
        for line in part.child().last_words(SHOWN_LINES) if part.child().has_failed() else []:
            self._report(f"  {part.name}: {line[:300]}")


def _health(part: Part) -> dict[str, object]:
    return {"deaths": part.deaths, "complaint": part.complaint, "hopeless": part.is_hopeless}
