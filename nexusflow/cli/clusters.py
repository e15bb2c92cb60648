"""Which cluster a command works on: the configured one, else the embedded one of the nearest home."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nexusflow.embedded.cluster import running
from nexusflow.embedded.database import database_only
from nexusflow.embedded.home import Home, find_home
from nexusflow.settings import get_settings, use_settings
from nexusflow.workflows.starts.service import ensure_tenant


@dataclass(frozen=True)
class Cluster:
    """A cluster in use. ``tenant``: the id of the settings' tenant. ``home``: the embedded cluster's, or None."""

    tenant: str
    home: Home | None


@contextmanager
def usable_cluster(report: Callable[[str], None]) -> Iterator[Cluster]:
    """A cluster that runs workflows; an embedded one is joined or started, and left at the end.

    Raises ClusterUnusable.
    """
    settings = get_settings()
    if settings.database_url is not None:
        yield Cluster(ensure_tenant(settings.tenant), None)
        return
    home = find_home(settings.home)
    with running(home, report) as info:
        use_settings(info.settings())
        yield Cluster(ensure_tenant(settings.tenant), home)


@contextmanager
def readable_cluster() -> Iterator[Cluster]:
    """A cluster whose records can be read; of an embedded one that is stopped, the database alone is started.

    Raises ClusterUnusable, NotFound.
    """
    settings = get_settings()
    if settings.database_url is not None:
        yield Cluster(ensure_tenant(settings.tenant), None)
        return
    home = find_home(settings.home)
    with database_only(home) as info:
        use_settings(info.settings())
        yield Cluster(ensure_tenant(settings.tenant), home)
