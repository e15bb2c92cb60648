"""A tenant of a fresh database, for what rows alone decide: nothing runs there."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from nexusflow.settings import Settings, use_settings
from tests.servers.databases import Database


@pytest.fixture
def tenant(database: Database) -> Iterator[str]:
    use_settings(
        Settings(database_url=SecretStr(database.runtime_url), control_database_url=SecretStr(database.control_url))
    )
    yield str(database.tenant_a)
    use_settings(None)
