"""The house's rules, as far as a program can tell: names, places, sizes, and who reads the environment."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from celery import Task

from nexusflow.queues import QUEUE_NAMES, QUEUES
from nexusflow.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGES = ("nexusflow", "tasks", "beat", "api")
LINES = 400

ENVIRONMENT = {
    "nexusflow/embedded/assembly.py": "what the cluster's processes inherit",
    "nexusflow/embedded/cluster.py": "what the supervisor inherits",
    "nexusflow/embedded/forks.py": "what a copy of the supervisor has instead of its",
    "nexusflow/embedded/vendor_server.py": "what the local vendors inherit",
    "nexusflow/workflows/evaluation/sandbox_child.py": "emptied, so that no expression can see it",
}
"""The files beside the settings that touch the environment, and what for."""


def sources(*folders: str) -> list[Path]:
    """The Python files below these folders of the repository, generated ones left out."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


PRODUCT = [*sources(*PACKAGES), ROOT / "celeryconfig.py"]


@pytest.mark.parametrize("name", [*PACKAGES, "celeryconfig", "nexusflow.workflows.engine.runner", "beat.scheduler"])
def test_imports_from_this_repository(name: str) -> None:
    """``tasks`` and ``beat`` are also names on package indexes."""
    found = importlib.import_module(name)
    assert Path(found.__file__ or "").is_relative_to(ROOT)


def test_queues_tasks_and_procfile_agree() -> None:
    doors = {path.stem for path in sources("tasks") if "tenant_task" in path.read_text()}
    assert doors == set(QUEUE_NAMES)
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)
    assert set(lines) == {"web", *QUEUE_NAMES, "beat"}
    for spec in QUEUES:
        words = lines[spec.name].split()
        options = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("-")}
        assert options["-Q"] == spec.name
        assert options["--pool"] == spec.pool
        assert options["--concurrency"] == str(spec.concurrency)


@pytest.mark.parametrize("queue", QUEUE_NAMES)
def test_tasks_are_named_as_their_path_and_routed_to_their_queue(queue: str) -> None:
    from nexusflow.celery import app

    module = importlib.import_module(f"tasks.{queue}")
    tasks = {name: each for name, each in vars(module).items() if isinstance(each, Task)}
    assert tasks
    for name, task in tasks.items():
        assert task.name == f"tasks.{queue}.{name}"
        assert app.amqp.router.route({}, task.name)["queue"].name == queue
    assert {name for name in app.tasks if name.startswith(f"tasks.{queue}.")} == {task.name for task in tasks.values()}


def test_only_the_settings_read_the_environment() -> None:
    """pydantic-settings reads it for them; the exceptions are listed, and no longer than they are needed."""
    touching = {
        _shown(path)
        for path in PRODUCT
        if re.search(r"\bos\.(?:environ|getenv|putenv)\b|from os import .*(?:environ|getenv)", path.read_text())
    }
    assert touching == set(ENVIRONMENT)


def test_no_file_is_long() -> None:
    everything = [*PRODUCT, *sources("tests", "benchmarks", "deploy")]
    assert [_shown(path) for path in everything if len(path.read_text().splitlines()) > LINES] == []


def test_every_module_says_what_it_is() -> None:
    texts = {_shown(path): path.read_text() for path in PRODUCT}
    silent = [name for name, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert silent == []


def test_every_setting_says_what_it_is() -> None:
    tree = ast.parse((ROOT / "nexusflow/settings.py").read_text())
    (settings,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    described = {
        before.target.id
        for before, after in zip(settings.body, settings.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }
    assert described == set(Settings.model_fields)


def test_celeryconfig_is_wiring_only() -> None:
    tree = ast.parse((ROOT / "celeryconfig.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"kombu", "kombu.entity", "beat.schedule", "nexusflow.queues", "nexusflow.settings"}


def test_every_entry_of_beat_expires_and_names_a_task() -> None:
    from beat.schedule import SCHEDULE
    from nexusflow.celery import app

    assert list(SCHEDULE) == sorted(SCHEDULE)
    for entry in SCHEDULE.values():
        assert entry["task"] in app.tasks
        assert entry["options"]["expires"]


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "manager", "misc"])
def test_no_module_is_called_by_no_name(name: str) -> None:
    assert not [path for path in PRODUCT if path.stem == name or path.parent.name == name]
