"""Beat's table: static, and of jobs that may be late, lost or sent twice."""

from datetime import timedelta

import pytest

from beat import scheduler
from beat.schedule import SCHEDULE
from nexusflow.celery import app


class Quiet:
    """A dispatcher that does nothing."""

    def start(self) -> None:
        """Not even this."""


def test_every_entry_names_a_task_and_expires_before_its_next_turn() -> None:
    app.loader.import_default_modules()
    for name, entry in SCHEDULE.items():
        assert entry["task"] in app.tasks, name
        assert 0 < entry["options"]["expires"] <= entry["schedule"], name


def test_the_table_is_sorted() -> None:
    assert list(SCHEDULE) == sorted(SCHEDULE)


def test_a_beat_that_lives_for_less_than_a_period_comes_to_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "DispatchLoop", Quiet)
    table = scheduler.DispatchScheduler(app=app).schedule
    for name in SCHEDULE:
        assert not table[name].is_due().is_due
        entry = table[name]
        entry.last_run_at -= scheduler.FIRST_AFTER + timedelta(seconds=1)
        assert entry.is_due().is_due, name
