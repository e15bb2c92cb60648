"""What is set up, what is wrong, what to do: one finding for each thing that is looked at."""

from nexusflow.doctor import machine, operation, servers
from nexusflow.doctor.findings import Examination, Finding, carefully
from nexusflow.embedded.cluster import find, find_home
from nexusflow.errors import NexusError
from nexusflow.settings import get_settings, use_settings

__all__ = ["Finding", "examine"]


_GROUND = ("database", "schema")
_ON_THE_SCHEMA = ("queues", "beat")
"""What cannot be looked at without the ground, which then says why."""


def examine() -> list[Finding]:
    """Look at everything. Never raises: what goes wrong while looking is a finding."""
    findings = [machine.python()]
    try:
        settings = get_settings()
    except NexusError as error:
        wrong = " ".join(each.message for each in error.details)
        return [*findings, Finding("settings", "fail", wrong or error.message, error.hint)]
    findings.append(Finding("settings", "ok", f"tenant {settings.tenant}"))
    embedded = settings.database_url is None
    parts: list[tuple[str, Examination]] = [("modules", lambda: machine.modules(settings))]
    if embedded:
        home = find_home(settings.home)
        info = find(home)
        parts += [
            ("home", lambda: machine.home_folder(home)),
            ("embedded cluster", lambda: machine.embedded_cluster(home)),
        ]
        if info is not None:
            use_settings(info.settings())
    settings = get_settings()
    if settings.database_url is not None:
        parts += [
            ("database", servers.database),
            ("broker", lambda: servers.broker(settings)),
            ("cache", lambda: servers.cache(settings)),
            ("storage", servers.large_values),
            ("queues", operation.queues),
            ("beat", operation.processes),
        ]
    parts.append(("connections", lambda: machine.connections(settings, embedded=embedded)))
    for name, look in parts:
        if name not in _ON_THE_SCHEMA or not any(each.name in _GROUND and each.level == "fail" for each in findings):
            findings += carefully(name, look)
    return findings
