"""What comes next in a try."""

from typing import Any

import pytest

from nexusflow.workflows.engine.outcomes import Outcome
from nexusflow.workflows.engine.trying import Next, next_of_try, parts_of
from tests.unit.workflows.definitions import compiled, foreach, step

GOOD, OTHER = Outcome("succeeded", output=1), Outcome("succeeded", output=2)


def failed(code: str, cause: str = "user") -> Outcome:
    return Outcome("failed", error={"code": code, "cause": cause, "message": "no"})


def next_of(*catches: list[str], **parts: Outcome | None) -> Next:
    """What comes next of a try with catches for these classes; the parts not named are not over."""
    spec = {"catch": [{"errors": each} for each in catches]}
    names = ["try", *(f"catch{number}" for number in range(len(catches)))]
    body = parts.pop("body", None)
    return next_of_try(spec, {**dict.fromkeys(names), **parts, "try": body})


def test_nothing_is_to_be_done_before_its_steps_are_over() -> None:
    assert next_of([], finally_=None) == Next()


def test_ends_as_its_steps_do_where_nothing_is_for_it() -> None:
    assert next_of(body=GOOD) == Next(end=GOOD)
    error = failed("NO")
    assert next_of(["YES"], ["provider"], body=error) == Next(end=error)


@pytest.mark.parametrize(
    ("catches", "entered"),
    [
        ([[]], "catch0"),
        ([["YES"], []], "catch1"),
        ([["NO"], ["NO_*"], []], "catch1"),
        ([["timeout", "provider"], ["user"], ["NO_STOCK"]], "catch1"),
    ],
)
def test_the_first_catch_that_fits_runs(catches: list[list[str]], entered: str) -> None:
    assert next_of(*catches, body=failed("NO_STOCK")) == Next(enter=entered)


def test_ends_as_its_catch_does_and_asks_no_other() -> None:
    assert next_of([], body=failed("NO"), catch0=OTHER) == Next(end=OTHER)
    second = failed("SECOND")
    assert next_of(["FIRST"], ["SECOND"], body=failed("FIRST"), catch0=second) == Next(end=second)


def test_a_catch_that_ran_does_not_matter_where_the_steps_went_well() -> None:
    assert next_of([], body=GOOD, catch0=None) == Next(end=GOOD)


@pytest.mark.parametrize("before", [{"body": GOOD}, {"body": failed("NO")}, {"body": failed("YES"), "catch0": OTHER}])
def test_finally_comes_last_whatever_was_before(before: dict[str, Any]) -> None:
    assert next_of(["YES"], **before, **{"finally": None}) == Next(enter="finally")


def test_finally_decides_only_where_it_fails() -> None:
    error, last = failed("NO"), failed("LAST")
    assert next_of(body=GOOD, **{"finally": OTHER}) == Next(end=GOOD)
    assert next_of(body=error, **{"finally": OTHER}) == Next(end=error)
    assert next_of(body=GOOD, **{"finally": last}) == Next(end=last)
    assert next_of(body=error, **{"finally": last}) == Next(end=last)
    assert next_of([], body=error, catch0=GOOD, **{"finally": last}) == Next(end=last)


def test_finds_the_parts_of_a_try_and_no_others() -> None:
    inner = {"id": "inner", "type": "try", "steps": [step("a")], "catch": [{"steps": [step("b")]}]}
    outer = {"id": "outer", "type": "try", "steps": [inner], "finally": {"steps": [foreach("each", step("c"))]}}
    plan = compiled(outer)
    assert parts_of(plan, "outer") == ["try", "finally"]
    assert parts_of(plan, "outer/try/inner") == ["try", "catch0"]
