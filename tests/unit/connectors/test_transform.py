"""``transform`` hands its program to the engine's sandbox."""

from typing import Any

import pytest

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.transform.actions import TransformInput, transform
from nexusflow.errors import Permanent


def context(jq: Any) -> StepContext:
    return StepContext("t", "r", "step", "", 1, "r/step/", 1e12, jq=jq)


def test_the_programs_result_is_the_output() -> None:
    given = TransformInput(input=[1, 2], jq="length")
    assert transform(context(lambda program, value: [program, value]), given) == ["length", [1, 2]]


def test_without_a_sandbox_it_says_so() -> None:
    with pytest.raises(Permanent, match="JQ_MISSING"):
        transform(context(None), TransformInput(jq="."))
