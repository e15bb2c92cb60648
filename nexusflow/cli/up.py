"""``nexusflow up``: the cluster in the foreground, until it is told to stop."""

import functools
import http.client
import ipaddress
import time
from types import FrameType

from nexusflow.cli import exits
from nexusflow.cli.console import err, say
from nexusflow.cli.interruption import Interruption
from nexusflow.cli.welcome import Welcome
from nexusflow.embedded.cluster import Membership, ailing, find, find_home, membership
from nexusflow.embedded.forks import apart
from nexusflow.embedded.front_end import Place, Request, asking
from nexusflow.embedded.home import Home
from nexusflow.embedded.parts import MOST_DEATHS
from nexusflow.embedded.procfile import WEB, WEB_PORT
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import Settings, get_settings

ANSWER_SECONDS = 60.0
LOSSES, LOSS_SECONDS = 3, 60.0
"""A supervisor that is lost so often in so short a time is not started again."""
_LOOK_SECONDS = 0.2


class UpCommand:
    """One ``nexusflow up``. ``port``: None for the usual one, or any that is free."""

    def __init__(self, host: str, port: int | None, *, upgrade: bool, as_json: bool) -> None:
        self._place = Place(host, WEB_PORT if port is None else port, exact=port is not None)
        self._upgrade, self._as_json = upgrade, as_json
        self._lost_at: list[float] = []

    def perform(self) -> int:
        """Run it; 0 once it was stopped. Raises ClusterUnusable."""
        with _Stopping() as stopping:
            settings = get_settings()
            is_configured = _is_configured(settings)
            home = find_home(settings.home)
            if is_configured:
                self._check_servers()
                home.create()
                home = home.on_servers
            elif self._upgrade:
                raise exits.misused("--upgrade is for a configured database; an embedded one is upgraded by itself")
            self._warn_of_host()
            with (
                asking(home, self._place) as request,
                membership(home, _begun, configured=is_configured, leaving=_tell) as member,
            ):
                stopping.member = member
                port = self._begin(home, member, stopping, is_configured=is_configured)
                # From here on standard output is silent: what goes wrong is said on standard error.
                code = exits.perform(functools.partial(self._watch, home, member, request, stopping, port))
                request.withdraw()
            if code != exits.SUCCEEDED:
                return code
            if find(home) is not None:
                say("The cluster goes on for another command that uses it; its front end has ended.")
            else:
                say("Stopped. What was recorded is kept.")
        return exits.SUCCEEDED

    def _begin(self, home: Home, member: Membership, stopping: "_Stopping", *, is_configured: bool) -> int:
        """Say where it is, once it answers; its port."""
        # While the front end starts.
        welcome = apart(functools.partial(Welcome.prepare, home, member.info, is_configured=is_configured))
        port = self._until_it_answers(home, member)
        url = f"http://{_shown_host(self._place.host)}:{port}"
        if not self._place.exact and port != self._place.port:
            say(f"Port {self._place.port} is taken, so it is {port}.", "yellow")
        stopping.patient = True
        welcome.show(url, as_json=self._as_json)
        return port

    def _watch(self, home: Home, member: Membership, request: Request, stopping: "_Stopping", port: int) -> int:
        """Tell what happens, and start again what is lost, until told to stop. Raises ClusterUnusable."""
        place = Place(self._place.host, port)
        while not stopping.asked:
            for line in member.progress.lines():
                _tell(line)
            if member.is_lost():
                self._recover(home, member, request, place)
            time.sleep(_LOOK_SECONDS)
        say("Stopping; Ctrl-C again stops at once.")
        return exits.SUCCEEDED

    def _recover(self, home: Home, member: Membership, request: Request, place: Place) -> None:
        self._lost_at = [at for at in self._lost_at if at > time.monotonic() - LOSS_SECONDS] + [time.monotonic()]
        if len(self._lost_at) > LOSSES:
            raise ClusterUnusable(
                f"The cluster's supervisor was lost {len(self._lost_at)} times within a minute.",
                f"Look into {home.logs / 'supervisor.log'}.",
            )
        say("The cluster's supervisor was killed; starting it again.", "yellow")
        request.move(place)
        member.rejoin()
        port = self._until_it_answers(home, member)
        say("The cluster is back." if port == place.port else f"The cluster is back, on port {port}.")

    def _until_it_answers(self, home: Home, member: Membership) -> int:
        """The front end's port, once it answers. Raises ClusterUnusable."""
        deadline = time.monotonic() + ANSWER_SECONDS
        complaint = ""
        while time.monotonic() < deadline and not member.is_lost():
            for line in member.progress.lines():
                _tell(line)
            info = find(home)
            port = info.ports.get(WEB, 0) if info is not None else 0
            if port and _answers(self._place.host, port):
                return port
            deaths, complaint = ailing(home).get(WEB, (0, ""))
            if deaths >= MOST_DEATHS:
                break
            time.sleep(0.05)
        why = f": {complaint.rstrip('.')}" if complaint else ""
        raise ClusterUnusable(f"The front end does not start{why}.", f"Look into {home.logs / 'web.log'}.")

    def _check_servers(self) -> None:
        from nexusflow.cli.configured import check_servers  # noqa: PLC0415 - for configured servers alone

        for warning in apart(functools.partial(check_servers, upgrade=self._upgrade)):
            say(warning, "yellow")

    def _warn_of_host(self) -> None:
        if not _is_loopback(self._place.host):
            told = "it speaks plain HTTP, and whoever has an API key may use it; put a proxy with TLS before it"
            say(f"Listening on {self._place.host}, beyond this machine: {told}.", "yellow")


class _Stopping(Interruption):
    """Ctrl-C and SIGTERM: before it is ready they end the command, then the first asks and the second hurries."""

    def __init__(self) -> None:
        super().__init__()
        self.member: Membership | None = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self.patient:
            if self.asked:
                return  # the first one is ending it
            self.asked = True
            raise KeyboardInterrupt
        if self.asked and self.member is not None:
            self.member.hurry()
        self.asked = True


def _is_configured(settings: Settings) -> bool:
    """Whether the settings name servers. Raises ClusterUnusable where they name only a part of them."""
    named = {
        "NEXUSFLOW_DATABASE_URL": settings.database_url is not None,
        "NEXUSFLOW_BROKER_URL": settings.broker_url is not None,
    }
    if len(set(named.values())) > 1:
        there, missing = sorted(named, key=lambda name: not named[name])
        raise ClusterUnusable(
            f"{there} is set, and {missing} is missing.",
            "Set both, and NEXUSFLOW_REDIS_URL for the cache, for servers of your own; none for an embedded cluster.",
        )
    return all(named.values())


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(host: str) -> str:
    """An address that leads there from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - not bound to


def _shown_host(host: str) -> str:
    host = _reachable(host)
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _begun(line: str) -> None:
    _tell(f"{line} …")


def _tell(line: str) -> None:
    """A line of the supervisor's; the ones of a log stay as they are."""
    is_log = line.startswith(" ")
    say(line if is_log else line[:1].upper() + line[1:], "dim" if is_log else None, to=err())
