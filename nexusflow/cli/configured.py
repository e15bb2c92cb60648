"""Whether the servers that the settings name can carry a cluster."""

from nexusflow.db.provision import provision_from_settings
from nexusflow.doctor import examine
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings

_NEEDED = ("settings", "modules", "database", "schema", "dispatcher", "broker", "cache")


def check_servers(*, upgrade: bool) -> list[str]:
    """What is to be known of the servers though they will do. Raises ClusterUnusable where they will not.

    ``upgrade``: first set up or upgrade the schema as its owner.
    """
    if upgrade:
        provision_from_settings()
    warnings = []
    for finding in examine():
        if finding.name not in _NEEDED:
            continue
        if finding.level == "fail":
            hint = _how_to_upgrade() if finding.name in ("database", "schema") else ""
            raise ClusterUnusable(finding.message, " ".join(filter(None, [finding.advice, hint])))
        if finding.level == "warn" and finding.name != "dispatcher":  # nothing runs yet
            warnings.append(f"The {finding.name} {finding.message} {finding.advice}".strip())
    if get_settings().redis_url is None:
        warnings.append("NEXUSFLOW_REDIS_URL is not set: each front end counts requests for the rate limit by itself.")
    return warnings


def _how_to_upgrade() -> str:
    if get_settings().owner_database_url is not None:
        return "A new or older database is brought up to date by nexusflow up --upgrade, or nexusflow db upgrade."
    return "A new or older database is brought up to date by nexusflow db upgrade with NEXUSFLOW_OWNER_DATABASE_URL."
