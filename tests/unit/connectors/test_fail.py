"""``fail`` fails with the words of the author."""

import pytest
from pydantic import ValidationError

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.fail.actions import FailInput, fail
from nexusflow.errors import Permanent, Transient

CONTEXT = StepContext("t", "r", "step", "", 1, "r/step/", 1e12)


def test_the_error_is_the_authors() -> None:
    given = FailInput(code="NO_STOCK", message="Nothing left", hint="Order more", details={"missing": 7})
    with pytest.raises(Permanent) as caught:
        fail(CONTEXT, given)
    assert caught.value.as_dict() == {
        "code": "NO_STOCK",
        "message": "Nothing left",
        "cause": "user",
        "hint": "Order more",
        "details": {"missing": 7},
    }


def test_a_message_is_enough_and_nothing_is_tried_again_by_itself() -> None:
    with pytest.raises(Permanent) as caught:
        fail(CONTEXT, FailInput(message="No"))
    assert caught.value.as_dict() == {"code": "FAILED", "message": "No", "cause": "user"}
    assert not isinstance(caught.value, Transient)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"message": ""},
        {"message": "No", "code": "no-stock"},
        {"message": "No", "code": 404},
        {"message": "No", "x": 1},
    ],
)
def test_what_a_catch_could_not_name_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FailInput.model_validate(given)
