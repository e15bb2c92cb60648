"""The command line inside this process, on a configured database where nothing runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nexusflow.cli.app import call
from nexusflow.settings import use_settings
from tests.servers.databases import Database
from tests.unit.cli.conftest import Answer


@pytest.fixture
def nexusflow(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Call a command as the tenant ``tenant-a``; nothing it says may be a trace."""
    monkeypatch.chdir(tmp_path)
    for name, value in database.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEXUSFLOW_TENANT", "tenant-a")
    use_settings(None)

    def called(*arguments: str) -> Answer:
        code = call(list(arguments))
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        return Answer(code, said.out, said.err)

    yield called
    use_settings(None)
