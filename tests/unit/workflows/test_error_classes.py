"""Which errors the rules of retry and catch are for."""

from typing import Any

import pytest

from nexusflow.workflows.language.error_classes import error_fits, fitting_rule

ERROR = {"code": "HTTP_503", "cause": "provider", "message": "busy"}


@pytest.mark.parametrize(
    ("classes", "fits"),
    [
        ([], False),
        (["any"], True),
        (["HTTP_503"], True),
        (["HTTP_*"], True),
        (["HTTP_5*"], True),
        (["HTTP_50"], False),
        (["HTTP"], False),
        (["HTTP_404"], False),
        (["OTHER", "HTTP_503"], True),
        (["provider"], True),
        (["user", "platform"], False),
        (["timeout"], False),
        (["transient"], False),
    ],
)
def test_codes_and_classes(classes: list[str], *, fits: bool) -> None:
    assert error_fits(ERROR, classes) is fits


@pytest.mark.parametrize(
    ("code", "fits"),
    [("STEP_TIMED_OUT", True), ("RUN_TIMED_OUT", True), ("EVENT_DID_NOT_COME", True), ("HTTP_TIMEOUT", False)],
)
def test_timeout_is_what_took_too_long_or_never_came(code: str, *, fits: bool) -> None:
    assert error_fits({"code": code, "cause": "provider"}, ["timeout"]) is fits


def test_transient_is_what_the_step_says_of_itself() -> None:
    assert error_fits(ERROR, ["transient"], transient=True)
    assert not error_fits(ERROR, ["HTTP_404"], transient=True)


@pytest.mark.parametrize("error", [{}, {"code": None}, {"code": 5}])
def test_an_error_without_a_code_fits_any_alone(error: dict[str, Any]) -> None:
    assert error_fits(error, ["any"])
    assert not error_fits(error, ["HTTP_*", "timeout", "user", "provider", "platform", "transient"])


def test_one_rule_is_for_transient_errors_unless_it_says_more() -> None:
    assert fitting_rule({"max": 3, "errors": []}, ERROR, transient=True) == {"max": 3, "errors": []}
    assert fitting_rule({"max": 3}, ERROR, transient=False) is None
    assert fitting_rule({"max": 3, "errors": ["HTTP_*"]}, ERROR, transient=False) is not None
    assert fitting_rule({"max": 3, "errors": ["HTTP_404"]}, ERROR, transient=True) is None


def test_of_several_rules_the_first_that_fits_counts() -> None:
    rules = [{"max": 0, "errors": ["HTTP_4*"]}, {"max": 5, "errors": ["provider"]}, {"max": 9, "errors": ["any"]}]
    assert fitting_rule(rules, ERROR, transient=True) == rules[1]
    assert fitting_rule(rules, {"code": "HTTP_404", "cause": "provider"}, transient=True) == rules[0]
    assert fitting_rule(rules, {"code": "X", "cause": "user"}, transient=False) == rules[2]


@pytest.mark.parametrize("retry", [None, [], {}])
def test_a_step_without_rules_is_not_tried_again(retry: Any) -> None:
    assert fitting_rule(retry, ERROR, transient=True) is None


def test_the_rule_given_is_the_callers_own() -> None:
    rule = {"max": 1}
    found = fitting_rule(rule, ERROR, transient=True)
    assert found == rule
    assert found is not rule
