"""``nexusflow db …`` as an operator types it, on a database of one's own and on an embedded cluster's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexusflow import storage
from nexusflow.cli import exits
from nexusflow.cli.app import call
from nexusflow.db.provision import newest_revision
from nexusflow.settings import Settings, use_settings
from tests.integration.db.owners import empty_database, owned_database, settings_of
from tests.integration.db.test_retention import add_month, month_before
from tests.servers.databases import Database
from tests.servers.postgres import PostgresServer


@pytest.fixture
def owned(postgres: PostgresServer) -> Iterator[Database]:
    """A database of a plain owner, with an old month in it."""
    made = owned_database(postgres)
    with settings_of(made):
        add_month(made, month_before(7))
        yield made
    postgres.drop_database(made.name)


def typed(capsys: pytest.CaptureFixture[str], *words: str, code: int = exits.SUCCEEDED) -> Any:
    """What a command says with --json."""
    assert call(["db", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_upgrade_says_what_it_would_do_and_does_it(
    postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = empty_database(postgres)
    with settings_of(empty):
        would = typed(capsys, "upgrade", "--dry-run")
        assert would == {"from": None, "to": newest_revision(), "changes": True, "dry_run": True}
        assert typed(capsys, "upgrade")["changes"]
        assert not typed(capsys, "upgrade")["changes"]
        assert call(["db", "upgrade"]) == exits.SUCCEEDED
        assert f"newest revision, {newest_revision()}" in capsys.readouterr().out
    postgres.drop_database(empty.name)
    use_settings(Settings())
    assert typed(capsys, "upgrade", code=exits.UNUSABLE)["error"]["code"] == "CLUSTER_UNUSABLE"


def test_what_would_be_pruned_is_told_first(owned: Database, capsys: pytest.CaptureFixture[str]) -> None:
    month = f"{month_before(7):%Y-%m}"
    would = typed(capsys, "prune", "--dry-run")
    assert would["months"] == [{"month": month, "runs": 1, "live": 0}]
    assert would["deleted"]["months"] == []
    assert call(["db", "prune", "--dry-run"]) == exits.SUCCEEDED
    assert f"{month}: 1 runs, would go" in capsys.readouterr().out
    assert typed(capsys, "prune")["deleted"]["months"] == [month]
    assert typed(capsys, "prune")["months"] == []


def test_a_backup_moves_into_an_embedded_cluster_and_out_again(
    owned: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A folder's objects too; the embedded database is started alone, and only while the command needs it."""
    kept, file, again = tmp_path / "kept", tmp_path / "first.backup", tmp_path / "second.backup"
    kept.mkdir()
    with settings_of(owned, storage_url=kept.as_uri()):
        key = storage.put(str(owned.tenant_a), str(owned.tenant_b), b"[1]")
        wrote = typed(capsys, "backup", str(file))
    assert (wrote["rows"]["runs"], wrote["objects"], wrote["storage"]) == (1, 1, "file")
    settings = Settings(home=tmp_path / "home")
    use_settings(settings)
    try:
        assert typed(capsys, "backup", str(again), code=exits.INVALID)["error"]["code"] == "NOT_FOUND"
        assert call(["db", "restore", str(file)]) == exits.SUCCEEDED
        assert "stored objects" in capsys.readouterr().out
        assert storage.get(str(owned.tenant_a), key) == b"[1]"
        use_settings(settings)
        assert typed(capsys, "restore", str(file), code=exits.INVALID)["error"]["code"] == "NOT_EMPTY"
        use_settings(settings)
        assert typed(capsys, "backup", str(again))["rows"] == wrote["rows"]
    finally:
        use_settings(None)
