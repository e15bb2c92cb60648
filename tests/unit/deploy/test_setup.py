"""The locks and the script that installs from them."""

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nexusflow_setup", ROOT / "deploy" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index-url" not in text
    pinned = re.findall(r"^([a-z0-9._-]+)==\S+", text, re.MULTILINE)
    assert len(pinned) > 40
    blocks = re.split(r"^(?=[a-z0-9._-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_locks_agree() -> None:
    first, second = (
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS
    )
    assert {name: second[name] for name in first.keys() & second.keys()} == {
        name: first[name] for name in first.keys() & second.keys()
    }


def test_the_installer_itself_is_locked(setup: ModuleType) -> None:
    lines = setup.locked("uv").splitlines()
    assert lines[0].startswith("uv==")
    assert len(lines) > 1
    assert all("--hash=sha256:" in line for line in lines[1:])
    assert not lines[-1].endswith("\\")
    assert setup.locked("no-such-package") == ""


def test_a_change_of_a_lock_asks_for_a_new_setup(setup: ModuleType, tmp_path: Path) -> None:
    for name in [*LOCKS, "pyproject.toml"]:
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    vars(setup)["ROOT"] = tmp_path
    before = setup.fingerprint("dev"), setup.fingerprint("run")
    with (tmp_path / "requirements-dev.lock").open("a") as lock:
        lock.write("#\n")
    assert setup.fingerprint("dev") != before[0]
    assert setup.fingerprint("run") == before[1]


def test_what_pip_is_told_reaches_uv_unless_uv_is_told_otherwise(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "file:///one")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///two file:///three")
    environment = setup.uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "file:///one"
    assert environment["UV_INDEX"] == "file:///two file:///three"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "file:///mine")
    assert setup.uv_environment()["UV_DEFAULT_INDEX"] == "file:///mine"
