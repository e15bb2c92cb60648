"""What every rule of the checks is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nexusflow.workflows.definition import ActionInfo
from nexusflow.workflows.document import Document
from nexusflow.workflows.expressions import ExpressionError
from nexusflow.workflows.loader import MAX_BYTES
from nexusflow.workflows.outline import ScopeView

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
