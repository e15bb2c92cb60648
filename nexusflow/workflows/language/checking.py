"""What every rule of the checks is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nexusflow.workflows.evaluation.expressions import ExpressionError
from nexusflow.workflows.language.definition import ActionInfo
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.language.loader import MAX_BYTES
from nexusflow.workflows.language.outline import ScopeView

MAX_STEPS = 5_000
MAX_SCOPE_DEPTH = 8
MAX_NEEDS = 1_000

JqChecker = Callable[[str], ExpressionError | None]


@dataclass(frozen=True)
class Limits:
    """How large a definition may be. ``definition_bytes``: its text."""

    definition_bytes: int = MAX_BYTES
    steps: int = MAX_STEPS


@dataclass(frozen=True)
class Checking:
    """A definition under check. ``check_jq``: tells what is wrong with a jq program; None = it is not checked."""

    document: Document
    outline: ScopeView
    catalogue: Mapping[str, ActionInfo]
    limits: Limits
    check_jq: JqChecker | None = None


def written(value: Any) -> bool | None:
    """What a condition is where it is written out; None where it is computed."""
    if isinstance(value, str):
        inner = value.strip().removeprefix("${{").removesuffix("}}").strip()
        return {"true": True, "false": False}.get(inner) if "${{" in value else None
    return value if isinstance(value, bool) else None
