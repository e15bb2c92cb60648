"""What is known about a running cluster: kept in the home's ``cluster.json`` while it runs."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nexusflow.embedded.home import Home, write_private
from nexusflow.embedded.locks import is_held
from nexusflow.settings import Settings

CONNECTION_PREFIX = "NEXUSFLOW_CONNECTIONS__"


@dataclass(frozen=True)
class ClusterInfo:
    """A running embedded cluster. ``environment`` is what its processes (and yours) need to use it.

    ``fresh``: this call started it. ``owner_database_url`` has all power over the database: never hand it to workers.
    """

    home: str
    version: str
    started_at: str
    environment: dict[str, str]
    owner_database_url: str
    pids: dict[str, int] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    fresh: bool = False

    @property
    def database_url(self) -> str:
        """PostgreSQL under the runtime role."""
        return self.environment["NEXUSFLOW_DATABASE_URL"]

    @property
    def control_database_url(self) -> str:
        """PostgreSQL under the control role."""
        return self.environment["NEXUSFLOW_CONTROL_DATABASE_URL"]

    @property
    def broker_url(self) -> str:
        """The broker; empty when only the database runs."""
        return self.environment.get("NEXUSFLOW_BROKER_URL", "")

    def settings(self) -> Settings:
        """This process's settings with the cluster's addresses in them."""
        plain: dict[str, Any] = {}
        connections: dict[str, dict[str, str]] = {}
        for name, value in self.environment.items():
            if name.startswith(CONNECTION_PREFIX):
                connection, _, key = name.removeprefix(CONNECTION_PREFIX).lower().partition("__")
                connections.setdefault(connection, {})[key] = value
            else:
                plain[name.removeprefix("NEXUSFLOW_").lower()] = value
        return Settings(**plain, connections=connections)

    def save(self) -> None:
        """Write ``cluster.json``, all or nothing."""
        content = asdict(replace(self, fresh=False))
        write_private(Home(Path(self.home)).cluster_file, content)


def find(home: Home) -> ClusterInfo | None:
    """The cluster that runs in this home now, if one does and is ready."""
    if not is_held(home.supervisor_lock, exclusively=True):
        return None
    try:
        return ClusterInfo(**json.loads(home.cluster_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
