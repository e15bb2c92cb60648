"""The queues, the Procfile, the tasks and beat agree."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import uvicorn

from nexusflow.embedded.procfile import BEAT_SCHEDULER, WEB_GRACE, arguments, celery_processes, processes, text
from nexusflow.queues import QUEUE_NAMES

ROOT = Path(__file__).parents[3]


def test_the_procfile_is_the_one_that_the_queues_ask_for() -> None:
    assert (ROOT / "Procfile").read_text() == text(), "run python -m nexusflow.embedded.procfile > Procfile"


def test_each_queue_has_its_worker_and_its_tasks() -> None:
    commands = processes()
    assert list(commands) == ["web", *QUEUE_NAMES, "beat"]
    for queue in QUEUE_NAMES:
        assert re.search(rf" -Q {queue} ", commands[queue])
        assert importlib.import_module(f"tasks.{queue}")


def test_the_web_line_is_one_that_uvicorn_takes() -> None:
    program, *words = shlex.split(processes()["web"])
    assert program == "uvicorn"
    given = uvicorn.main.make_context("uvicorn", words).params
    assert (given["factory"], given["timeout_graceful_shutdown"]) == (True, WEB_GRACE)
    module, _, name = given["app"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    module, _, name = given["http"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert set(processes()) - set(celery_processes()) == {"web"}


def test_beat_finds_its_scheduler() -> None:
    module, _, name = BEAT_SCHEDULER.partition(":")
    assert hasattr(importlib.import_module(module), name)


def test_a_command_is_one_of_this_app() -> None:
    assert arguments("celery -A nexusflow beat -S x") == ["beat", "-S", "x"]
    with pytest.raises(ValueError, match="flower"):
        arguments("flower --port 5555")
