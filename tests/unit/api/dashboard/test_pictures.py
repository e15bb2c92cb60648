"""A run's picture tells what waits, how far a loop is, and which part of a try a box stands for."""

import datetime

import pytest

from api.dashboard.pictures import Shape, bars, graph
from api.dashboard.words import ago, sign
from nexusflow.workflows.reports.layout import lay_out
from nexusflow.workflows.reports.report import RunReport, RunSummary
from nexusflow.workflows.reports.report_steps import Awaited, Iterations, StepReport
from tests.unit.workflows.definitions import compiled, step

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(minutes=5)
LOOP = {"id": "poll", "type": "until", "until": "${{ 1 > 2 }}", "steps": [step("look")]}
TRY = {
    "id": "guarded",
    "type": "try",
    "steps": [{"id": "rest", "type": "wait", "with": {"duration": "5m"}}],
    "catch": [{"errors": ["HTTP_*"], "steps": [step("tell")]}],
}
STEPS = (
    StepReport("poll", "until", 0, "running", started_at=NOW, iterations=Iterations(2, 10), waits_until=LATER),
    StepReport("poll/look", "csv.read", 1, "waiting", counts={"succeeded": 2, "waiting": 1}),
    StepReport("guarded", "try", 0, "running"),
    StepReport("guarded/try/rest", "wait", 1, "waiting", started_at=NOW, waits_until=LATER),
    StepReport("guarded/catch0/tell", "csv.read", 1, "skipped", note="no error"),
)


def shapes() -> dict[str, Shape]:
    drawn = graph(lay_out(compiled(LOOP, TRY)), STEPS, NOW)
    return {shape.box.path: shape for shape in drawn.shapes}


def test_a_box_tells_how_long_a_step_still_waits() -> None:
    rest = shapes()["guarded/try/rest"]
    assert (rest.state, rest.line) == ("waiting", "wait · 5 min 0 s left")
    assert rest.label == "guarded/try/rest, wait, waiting, until 2026-01-01 12:05:00 UTC"


def test_a_box_tells_for_which_event_a_step_waits() -> None:
    waits = Awaited("a.very.long.name.of.an.event", ("o-1",), 1)
    event = {"id": "rest", "type": "wait", "with": {"event": waits.event}}
    picture = lay_out(compiled(event))
    for until, line, told in (
        (None, "wait · for a.very.long.…", "for a.very.long.name.of.an.event o-1"),
        (LATER, "wait · 5 min 0 s left", "until 2026-01-01 12:05:00 UTC"),
    ):
        rest = StepReport("rest", "wait", 0, "waiting", started_at=NOW, waits_until=until, waits_for=waits)
        (shape,) = graph(picture, [rest], NOW).shapes
        assert shape.line == line
        assert shape.label.endswith(told)


def test_an_until_tells_its_iterations() -> None:
    poll, look = (shapes()[path] for path in ("poll", "poll/look"))
    assert (poll.box.kind, poll.line) == ("until", "until · 2/10 · 5 min 0 s left")
    assert "iteration 3 of at most 10" in poll.label
    assert look.line == "csv.read · 2×"


def test_a_part_of_a_try_is_a_frame_and_no_step() -> None:
    frames = [shape for shape in shapes().values() if shape.box.kind == "part"]
    assert [(frame.title, frame.state, frame.line) for frame in frames] == [
        ("try", "branch", ""),
        ("catch 1: HTTP_*", "branch", ""),
    ]


def test_the_bar_of_what_waits_goes_on_to_now() -> None:
    run = RunSummary("r", "w", 1, "running", None, None, None, None, None, NOW, NOW, None, 60.0)
    found = {bar.step.path: bar for bar in bars(RunReport(run, STEPS), NOW + datetime.timedelta(minutes=1))}
    assert (found["guarded/try/rest"].begin, found["guarded/try/rest"].width) == (0.0, 1000.0)
    assert found["poll"].note == "iteration 3 of at most 10"
    assert found["guarded/catch0/tell"].note == "no error"


def test_waiting_has_a_sign() -> None:
    assert sign("waiting") != sign("no state")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "just now"),
        (-10, "just now"),
        (-80, "1 minute ago"),
        (-7200, "2 hours ago"),
        (10, "in a moment"),
        (50, "in a minute"),
        (300, "in 5 minutes"),
        (90_000, "in 1 day"),
    ],
)
def test_moments_are_told_from_both_sides(seconds: int, told: str) -> None:
    assert ago(NOW + datetime.timedelta(seconds=seconds), NOW) == told
