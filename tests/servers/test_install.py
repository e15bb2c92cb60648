"""What is missing is said; what installing changes on the machine is put back."""

import os
import shutil
from pathlib import Path

import pytest

from tests.servers import install, programs


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "POLICY", path)
    return path


def test_services_are_kept_off_and_the_machines_policy_comes_back(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o700)
    with install.services_kept_off():
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & 0o111
    assert "exit 0" in policy.read_text()
    assert policy.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in policy.parent.iterdir()] == ["policy-rc.d"]


def test_a_machine_without_a_policy_has_none_afterwards(policy: Path) -> None:
    with pytest.raises(RuntimeError), install.services_kept_off():
        raise RuntimeError
    assert not list(policy.parent.iterdir())


def test_an_interrupted_installation_does_not_lose_the_machines_policy(policy: Path) -> None:
    policy.write_text("ours, left by a kill")
    policy.with_suffix(".d.before-nexusflow").write_text("the machine's")
    with install.services_kept_off():
        pass
    assert policy.read_text() == "the machine's"


def test_no_default_cluster_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = tmp_path / "createcluster.d" / "tests.conf"
    monkeypatch.setattr(install, "NEW_CLUSTERS", setting)
    with install.no_default_cluster():
        assert setting.read_text() == "create_main_cluster = false\n"
    assert not setting.exists()


def test_what_is_missing_is_said_to_those_who_cannot_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert install.main() == 1
    said = capsys.readouterr().err
    assert "RabbitMQ" in said
    assert "apt install rabbitmq-server" in said
    assert "Redis" not in said


def test_root_installs_what_is_missing_with_services_off(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [{"Redis or Valkey": "redis-server"}, {}]
    browsers = [None, "/usr/bin/chromium"]
    seen = []

    def record(*arguments: str) -> None:
        seen.append((arguments, policy.exists()))

    monkeypatch.setattr(install, "missing", lambda: absent.pop(0))
    monkeypatch.setattr(install, "find_browser", lambda: browsers.pop(0))
    monkeypatch.setattr(install, "NEW_CLUSTERS", policy.parent / "x" / "y.conf")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(install, "apt", record)
    assert install.main() == 0
    packages = ("redis-server", "chromium", "fonts-dejavu-core")
    assert seen == [(("update",), True), (("install", "-y", "--no-install-recommends", *packages), True)]
    assert not policy.exists()


def test_a_machine_without_a_browser_is_good_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "missing", dict)
    monkeypatch.setattr(install, "find_browser", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert install.main() == 0
    assert "will be skipped" in capsys.readouterr().err
