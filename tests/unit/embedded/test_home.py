"""Where the home is, and what is written in it."""

import json
from pathlib import Path

import pytest

from nexusflow.embedded.cluster_info import ClusterInfo, find
from nexusflow.embedded.home import Home, find_home, is_open_to_all, write_private
from nexusflow.embedded.locks import FileLock, is_held
from nexusflow.errors import ClusterUnusable


def test_the_configured_home_wins(tmp_path: Path) -> None:
    (tmp_path / ".nexusflow").mkdir()
    assert find_home(tmp_path / "mine", tmp_path).path == tmp_path / "mine"


def test_the_nearest_home_upward_else_one_here(tmp_path: Path) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    assert find_home(None, here).path == here / ".nexusflow"
    (tmp_path / ".nexusflow").mkdir()
    assert find_home(None, here).path == tmp_path / ".nexusflow"


def test_secrets_are_made_once_and_differ(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    first = home.secrets()
    assert home.secrets() == first
    assert len({first.owner_password, first.runtime_password, first.control_password, first.broker_password}) == 4
    home.create()
    assert home.secrets() == first


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    write_private(path, {"new": 1})
    assert json.loads(path.read_text()) == {"new": 1}
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TypeError):
        write_private(path, {"bad": object()})
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]
    assert json.loads(path.read_text()) == {"new": 1}


def test_a_folder_is_open_when_all_above_it_are(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert not is_open_to_all(inner)
    assert is_open_to_all(Path("/"))


def test_locks_shared_and_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path, exclusively=False)
    with FileLock(path) as first, FileLock(path) as second, FileLock(path) as third:
        assert first.acquire(shared=True)
        assert second.acquire(shared=True)
        assert not third.acquire(shared=False, wait=0.1)
        assert is_held(path, exclusively=False)
        assert not is_held(path, exclusively=True)
        first.release()
        second.release()
        assert third.acquire(shared=False)
        assert is_held(path, exclusively=True)
    assert not is_held(path, exclusively=False)


def test_a_lock_in_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnusable):
        FileLock(tmp_path / "missing" / "lock").acquire(shared=True)


def test_a_cluster_file_without_a_supervisor_is_no_cluster(tmp_path: Path) -> None:
    home = Home(tmp_path)
    info = ClusterInfo(str(tmp_path), "0", "now", {"NEXUSFLOW_DATABASE_URL": "postgresql://x"}, "postgresql://y")
    info.save()
    assert find(home) is None
    with FileLock(home.supervisor_lock) as supervisor:
        supervisor.acquire(shared=False)
        assert find(home) == info


def test_the_clusters_settings_keep_real_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUSFLOW_CONNECTIONS__OPENAI__API_KEY", "real")
    environment = {
        "NEXUSFLOW_DATABASE_URL": "postgresql://runtime",
        "NEXUSFLOW_CONNECTIONS__EMAIL__HOST": "127.0.0.1",
    }
    settings = ClusterInfo(str(tmp_path), "0", "now", environment, "postgresql://owner").settings()
    assert settings.connections == {"openai": {"api_key": "real"}, "email": {"host": "127.0.0.1"}}
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://runtime"
    assert settings.owner_database_url is None
