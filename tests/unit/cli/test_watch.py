"""How a run is followed: what the database answers is scripted, the rest is real."""

import datetime
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from nexusflow.cli import watch as module
from nexusflow.cli.interruption import Interruption, LeaveNow
from nexusflow.cli.watch import Watch
from nexusflow.errors import ClusterUnusable
from nexusflow.workflows.reports.report import RunReport, RunSummary

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
AWAY = ClusterUnusable("PostgreSQL cannot be used: gone")


def report(status: str) -> RunReport:
    run = RunSummary("r1", "w", 1, status, None, None, None, None, None, NOW, NOW, None, 1.0)
    return RunReport(run, ())


class Notes:
    """A view that keeps what it was told."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.notes: list[str] = []

    def show(self, report: RunReport) -> None:
        self.shown.append(report.run.status)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Script what each look finds; gives the list of runs that were asked to end."""
    monkeypatch.setattr(module, "_LEAST_PAUSE", 0.001)
    monkeypatch.setattr(module, "_MOST_PAUSE", 0.005)
    cancelled: list[str] = []

    def script(looks: Iterator[Any]) -> list[str]:
        def read(tenant: str, run: str) -> RunReport:
            found = next(looks)
            if isinstance(found, Exception):
                raise found
            return report(found)

        monkeypatch.setattr(module, "read_progress", read)
        monkeypatch.setattr(module, "cancel_run", lambda tenant, run: cancelled.append(run))
        return cancelled

    return script


def watching(view: Notes, interruption: Interruption | None = None, **limits: float) -> Watch:
    return Watch("t", "r1", view, interruption or Interruption(), advise=lambda: "Look here.", **limits)


def test_a_run_is_followed_to_its_end(database: Callable[..., list[str]]) -> None:
    view = Notes()
    cancelled = database(iter(["queued", "running", "running", "failed"]))
    assert watching(view).follow().run.status == "failed"
    assert view.shown == ["queued", "running", "running", "failed"]
    assert (view.notes, cancelled) == ([], [])


def test_a_database_that_comes_back_is_waited_for(database: Callable[..., list[str]]) -> None:
    view = Notes()
    database(iter(["running", AWAY, AWAY, "succeeded"]))
    assert watching(view, away_seconds=30).follow().run.status == "succeeded"
    assert len(view.notes) == 2
    assert "does not answer" in view.notes[0]
    assert "answers again" in view.notes[1]


def test_a_database_that_stays_away_is_an_error_that_names_the_run(database: Callable[..., list[str]]) -> None:
    def looks() -> Iterator[Any]:
        yield "running"
        while True:
            yield AWAY

    database(looks())
    with pytest.raises(ClusterUnusable) as refused:
        watching(Notes(), away_seconds=0.05).follow()
    assert "The run r1 is not lost" in refused.value.hint


def test_a_run_that_does_not_move_is_said_to_stall_once_a_while(database: Callable[..., list[str]]) -> None:
    view = Notes()
    database(iter(["queued"] * 100 + ["succeeded"]))
    watching(view, stall_seconds=0.1).follow()
    assert 1 <= len(view.notes) <= 6
    assert "Look here." in view.notes[0]


@pytest.mark.parametrize(
    "away", [sa.exc.TimeoutError("no connection left"), sa.exc.PendingRollbackError("broken"), psycopg.DataError("odd")]
)
def test_whatever_the_drivers_raise_is_a_database_that_is_away(
    database: Callable[..., list[str]], away: Exception
) -> None:
    view = Notes()
    database(iter(["running", away, "succeeded"]))
    assert watching(view).follow().run.status == "succeeded"
    assert len(view.notes) == 2
    database(iter(["running", *[away] * 1000]))
    with pytest.raises(ClusterUnusable, match=r"not answered for 0 s: (no connection|broken|odd)"):
        watching(view, away_seconds=0.01).follow()


def test_a_cluster_that_can_never_run_it_is_an_error_that_names_the_run(database: Callable[..., list[str]]) -> None:
    database(iter(["queued"] * 100))
    watch = watching(Notes())
    watch.hopeless = lambda: ClusterUnusable("The process beat cannot run.", "See its log.")
    with pytest.raises(ClusterUnusable) as refused:
        watch.follow()
    assert refused.value.message == "The process beat cannot run."
    assert refused.value.hint.startswith("See its log. The run r1 is not lost")


def test_a_run_that_is_over_needs_no_cluster(database: Callable[..., list[str]]) -> None:
    database(iter(["succeeded"]))
    watch = watching(Notes())
    watch.hopeless = lambda: ClusterUnusable("The process beat cannot run.")
    assert watch.follow().run.status == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_cancels_once_and_waits(database: Callable[..., list[str]], number: int) -> None:
    view = Notes()

    def looks() -> Iterator[Any]:
        yield "running"
        os.kill(os.getpid(), number)
        yield from ["running", "running", "running", "cancelled"]

    cancelled = database(looks())
    with Interruption() as interruption:
        interruption.patient = True
        assert watching(view, interruption).follow().run.status == "cancelled"
    assert cancelled == ["r1"]
    assert "press Ctrl-C again" in view.notes[0]


def test_the_second_signal_leaves(database: Callable[..., list[str]]) -> None:
    def looks() -> Iterator[Any]:
        for _ in range(1000):
            yield "running"

    database(looks())
    with Interruption() as interruption:
        interruption.patient = interruption.asked = True
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(LeaveNow):
            watching(Notes(), interruption).follow()
        timer.join()


def test_before_there_is_a_run_a_signal_ends_the_command() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
