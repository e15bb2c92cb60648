"""The front end under test: a real uvicorn before the session's cluster, and two tenants' keys."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.api.front import Front, Promises, key_of, web_of

if TYPE_CHECKING:
    from tests.integration.cluster import Cluster


@pytest.fixture(scope="session")
def web(cluster: "Cluster") -> Iterator[tuple[str, Promises]]:
    """The front end's address, and what it promises."""
    with web_of(cluster) as found:
        yield found


@pytest.fixture(scope="session")
def front(cluster: "Cluster", web: tuple[str, Promises]) -> Iterator[Front]:
    """The front end, for the first tenant."""
    with Front(web[0], key_of(cluster, cluster.database.tenant_a), web[1]) as made:
        yield made


@pytest.fixture(scope="session")
def other(cluster: "Cluster", web: tuple[str, Promises]) -> Iterator[Front]:
    """The front end, for the second tenant."""
    with Front(web[0], key_of(cluster, cluster.database.tenant_b), web[1]) as made:
        yield made
