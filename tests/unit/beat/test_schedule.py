"""Beat's table: static, and of jobs that may be late, lost or sent twice."""

from beat.schedule import SCHEDULE
from nexusflow.celery import app


def test_every_entry_names_a_task_and_expires_before_its_next_turn() -> None:
    app.loader.import_default_modules()
    for name, entry in SCHEDULE.items():
        assert entry["task"] in app.tasks, name
        assert 0 < entry["options"]["expires"] <= entry["schedule"], name


def test_the_table_is_sorted() -> None:
    assert list(SCHEDULE) == sorted(SCHEDULE)
