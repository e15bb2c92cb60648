"""How outputs are laid out."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from nexusflow.cli.console import out, print_json
from nexusflow.cli.render import duration
from nexusflow.cli.results import show_output


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Callable[[Any], list[str]]:
    def show(value: Any) -> list[str]:
        show_output(value)
        return [line.rstrip() for line in capfd.readouterr().out.splitlines()]

    return show


def test_a_flat_object_is_a_table_of_two_columns(shown: Callable[[Any], list[str]]) -> None:
    assert shown({"read": 300, "by": {"hot": 1, "cold": 2}, "url": "[x]", "none": None}) == [
        "read  300",
        "by    hot 1, cold 2",
        "url   [x]",
        "none  null",
    ]


def test_a_list_of_flat_objects_is_a_table(shown: Callable[[Any], list[str]]) -> None:
    lines = shown([{"a": 1, "b": "x"}, {"a": 2}])
    assert lines == ["a  b", "1  x", "2"]
    assert "… 950 rows more: --json shows all" in "".join(shown([{"a": n} for n in range(1000)]))


@pytest.mark.parametrize("value", [[1, 2], {"a": {"b": {"c": [1] * 200}}}, [{"a": "x" * 500}], {"a": "two\nlines"}])
def test_all_else_is_json(shown: Callable[[Any], list[str]], value: Any) -> None:
    assert shown(value)[0] in ("[", "{")


def test_nothing_is_shown_for_no_output(shown: Callable[[Any], list[str]]) -> None:
    assert shown(None) == []
    assert shown(0) == ["0"]


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.0123, 2.44, 75, 7500)] == ["12 ms", "2.4 s", "1 m 15 s", "2 h 5 m"]


def test_what_is_no_terminal_gets_no_colour(capfd: pytest.CaptureFixture[str]) -> None:
    out().print("x", style="bold red")
    assert capfd.readouterr().out == "x\n"


def test_moments_for_programs_are_written_as_the_api_writes_them(capfd: pytest.CaptureFixture[str]) -> None:
    india = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    print_json({"at": datetime.datetime(2026, 1, 31, 9, 0, tzinfo=india)})
    assert json.loads(capfd.readouterr().out) == {"at": "2026-01-31T03:30:00+00:00"}
