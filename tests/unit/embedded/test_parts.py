"""Parts that die: told apart are those that stumble and those that can never run."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nexusflow.embedded import parts
from nexusflow.embedded.children import Child
from nexusflow.embedded.cluster import ailing, hopeless
from nexusflow.embedded.home import Home
from nexusflow.embedded.parts import Part


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A process that ends at once, while there is no file that lets it live."""
    monkeypatch.setattr(parts, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(parts, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(parts, "LIVED_SECONDS", 0.2)
    script = f'test -e {tmp_path}/live && exec sleep 30; echo "ImportError: no luck."; exit 1'
    child = Child("workflow", ["/bin/sh", "-c", script], log=tmp_path / "log")
    child.start()
    return Part("workflow", lambda: child, child.start)


def tend_until(part: Part, claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        part.tend()
        time.sleep(0.005)


def test_what_dies_each_time_it_is_started_is_hopeless(part: Part) -> None:
    tend_until(part, lambda: part.deaths == 4)
    assert not part.is_hopeless
    tend_until(part, lambda: part.deaths == 5)
    assert part.is_hopeless
    assert part.complaint == "ImportError: no luck."


def test_of_a_trace_people_are_told_what_was_raised(tmp_path: Path) -> None:
    script = "print('One moment.', flush=True)\nraise ValueError('no such place')"
    child = Child("beat", [sys.executable, "-c", script], log=tmp_path / "log")
    child.start()
    deadline = time.monotonic() + 20
    while child.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.last_words(8) == ["One moment.", "ValueError: no such place"]
    assert child.last_words(1) == ["ValueError: no such place"]


def test_what_lives_after_all_is_hopeless_no_more_and_that_is_news(part: Part, tmp_path: Path) -> None:
    tend_until(part, lambda: part.is_hopeless)
    (tmp_path / "live").touch()
    news: list[bool] = []
    try:
        tend_until(part, lambda: part.child().is_alive)
        tend_until(part, lambda: news.append(part.tend()) or not part.is_hopeless)
        assert news.count(True) == 1
        part.child().kill()
        tend_until(part, lambda: part.deaths == 6)
        assert not part.is_hopeless, "it has lived"
    finally:
        part.child().kill()


def test_a_hopeless_worker_is_a_failed_cluster(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    assert hopeless(home) is None
    entry = {"deaths": 5, "complaint": "ImportError: no luck.", "hopeless": False}
    home.health_file.write_text(json.dumps({"beat": entry, "postgres": entry | {"hopeless": True}}))
    assert hopeless(home) is None
    assert ailing(home)["beat"] == (5, "ImportError: no luck.")
    home.health_file.write_text(json.dumps({"beat": entry | {"hopeless": True}}))
    failure = hopeless(home)
    assert failure is not None
    assert failure.message == "The cluster's process beat cannot run, it ended 5 times: ImportError: no luck."
    assert "beat.log" in failure.hint
