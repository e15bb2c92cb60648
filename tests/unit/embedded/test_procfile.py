"""The queues, the Procfile, the tasks and beat agree."""

import importlib
import re
from pathlib import Path

import pytest

from nexusflow.embedded.procfile import BEAT_SCHEDULER, arguments, processes, text
from nexusflow.queues import QUEUE_NAMES

ROOT = Path(__file__).parents[3]


def test_the_procfile_is_the_one_that_the_queues_ask_for() -> None:
    assert (ROOT / "Procfile").read_text() == text(), "run python -m nexusflow.embedded.procfile > Procfile"


def test_each_queue_has_its_worker_and_its_tasks() -> None:
    commands = processes()
    assert list(commands) == [*QUEUE_NAMES, "beat"]
    for queue in QUEUE_NAMES:
        assert re.search(rf" -Q {queue} ", commands[queue])
        assert importlib.import_module(f"tasks.{queue}")


def test_beat_finds_its_scheduler() -> None:
    module, _, name = BEAT_SCHEDULER.partition(":")
    assert hasattr(importlib.import_module(module), name)


def test_a_command_is_one_of_this_app() -> None:
    assert arguments("celery -A nexusflow beat -S x") == ["beat", "-S", "x"]
    with pytest.raises(ValueError, match="flower"):
        arguments("flower --port 5555")
