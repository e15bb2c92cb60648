"""How a run's steps are told on a terminal: what waits, how far a loop is, which way a step lies on."""

import datetime
import io
from dataclasses import replace

import pytest
from rich.console import Console

from nexusflow.cli.progress import PlainView
from nexusflow.cli.records import local
from nexusflow.cli.render import awaiting, steps_table
from nexusflow.workflows.reports.report import RunReport, RunSummary
from nexusflow.workflows.reports.report_rows import ChildRun, Failure
from nexusflow.workflows.reports.report_steps import Awaited, Iterations, StepReport

LOOK = StepReport("poll/look", "transform", 1, "waiting", counts={"succeeded": 2, "waiting": 1})
STOPPED = StepReport("guarded/try/pay", "fail", 1, "cancelled", way="try", note="stopped: look failed")
TELL = StepReport("guarded/catch0/tell", "transform", 1, "skipped", way="catch 1", note="no error")


def ahead(hours: int) -> datetime.datetime:
    """In so many hours and half a minute."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours, seconds=30)


def poll() -> StepReport:
    return StepReport("poll", "until", 0, "running", iterations=Iterations(2, 10), waits_until=ahead(2))


def rest() -> StepReport:
    return StepReport("guarded/try/rest", "wait", 1, "waiting", waits_until=ahead(1), way="try")


def report_of(*steps: StepReport, status: str = "running", ending: str | None = None) -> RunReport:
    now = datetime.datetime.now(datetime.UTC)
    return RunReport(RunSummary("r", "w", 1, status, ending, None, None, None, None, now, now, None, 1.0), steps)


def rows(*steps: StepReport) -> list[str]:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(steps_table(console, steps))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_each_row_says_how_far_what_is_and_why() -> None:
    told = [row[2:] for row in rows(poll(), LOOK, rest(), STOPPED, TELL)]
    assert told == [
        "poll until running, iteration 3 of at most 10, next in 2 h 0 m",
        "look transform 2 succeeded · 1 waiting",
        "try: rest wait waiting, goes on in 1 h 0 m",
        "try: pay fail cancelled stopped: look failed",
        "catch 1: tell transform skipped no error",
    ]


def test_a_run_says_what_it_waits_for_if_nothing_else_goes_on() -> None:
    waits = awaiting(report_of(poll(), LOOK, rest()))
    assert waits is not None
    told = waits.plain.split("; ")
    assert told[0].startswith("Waits for guarded/try/rest (")
    assert told[0].endswith(", in 1 h 0 m)")
    assert told[1].startswith("poll, its next iteration (")
    again = StepReport(
        "call", "http.request", 0, "retrying", retry_at=ahead(2), failures=(Failure("", "retrying", 1, {}),)
    )
    waits = awaiting(report_of(again))
    assert waits is not None
    assert waits.plain.startswith("Waits for call, to be tried again (")
    many = [StepReport(f"rest{n}", "wait", 0, "waiting", waits_until=ahead(2)) for n in range(9)]
    waits = awaiting(report_of(*many))
    assert waits is not None
    assert waits.plain.endswith(" and 6 more")


def test_a_call_names_its_run_and_a_run_waits_for_it() -> None:
    child = ChildRun("0199f0a3", "invoice", "running", "")
    call = StepReport("bill", "workflow", 0, "waiting", calls="invoice", children=(child, child))
    assert [row[2:] for row in rows(call)] == ["bill workflow invoice waiting, run 0199f0a3 of invoice and 1 more"]
    waits = awaiting(report_of(call))
    assert waits is not None
    assert waits.plain == "Waits for bill (run 0199f0a3 of invoice and 1 more)"
    done = replace(call, state="succeeded")
    assert awaiting(report_of(done)) is None


def test_a_run_that_goes_on_or_ends_waits_for_nothing() -> None:
    busy = StepReport("call", "http.request", 0, "running")
    assert awaiting(report_of(rest(), busy)) is None
    assert (
        awaiting(report_of(rest(), StepReport("each/call", "http.request", 1, "running", counts={"running": 1})))
        is None
    )
    assert awaiting(report_of(rest(), ending="cancelled")) is None
    assert awaiting(report_of(busy)) is None


def test_a_line_tells_until_when_a_step_waits(capfd: pytest.CaptureFixture[str]) -> None:
    view, waiting = PlainView(), rest()
    view.show(report_of(poll(), waiting))
    view.show(report_of(poll(), waiting))
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith(" poll running (iteration 3 of at most 10)")
    assert second.endswith(f" guarded/try/rest waiting until {local(waiting.waits_until)}")


def test_what_waits_for_an_event_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    paid = StepReport("paid", "wait", 0, "waiting", waits_until=ahead(1), waits_for=Awaited("order.paid", ("o-1",), 1))
    done = StepReport("done", "wait", 0, "waiting", waits_for=Awaited("order.done", ("",), 1))
    assert [row[2:] for row in rows(paid, done)] == [
        "paid wait waiting, for order.paid o-1, gives up in 1 h 0 m",
        "done wait waiting, for order.done",
    ]
    waits = awaiting(report_of(done, paid))
    assert waits is not None
    first, second = waits.plain.split("; ")
    assert first.startswith("Waits for paid for order.paid o-1, at most (")
    assert second == "done for order.done"
    PlainView().show(report_of(paid, done))
    told = [line.partition(" ")[2] for line in capfd.readouterr().err.splitlines()]
    assert told == [
        f"paid waiting for order.paid o-1, at most until {local(paid.waits_until)}",
        "done waiting for order.done",
    ]
