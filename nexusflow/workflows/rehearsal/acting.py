"""One call of an action in a rehearsal: its input resolved and checked as the engine does, its answer from a mock.

Only what is pure and cheap is really done (``transform``, ``fail``), unless it is mocked too.
"""

from typing import Any, NoReturn

from nexusflow.connectors.base import FileRef
from nexusflow.connectors.registry import get_action
from nexusflow.errors import Permanent
from nexusflow.schemas import MASK
from nexusflow.workflows.engine.act import Place, asked, done, storable, validated
from nexusflow.workflows.language.definition import CONTROL_TYPES, SCOPE_TYPES
from nexusflow.workflows.rehearsal.journal import Call
from nexusflow.workflows.rehearsal.mocking import Mocks, given_by, unmocked


class Actor:
    """Answers calls; ``calls``: those that were made."""

    def __init__(self, run_id: str, mocks: Mocks, calls: list[Call]) -> None:
        self._run_id, self._mocks, self._calls = run_id, mocks, calls

    def act(self, spec: dict[str, Any], name: str, item: str, roots: dict[str, Any]) -> Any:
        """The output of a step's (or a compensation's) action. Raises StepError, Never, Unanswered."""
        action, given = asked(spec, roots)
        if not _is_masked(given):  # what stands in for a secret fits any schema
            validated(action, given)
        self._calls.append(Call(name, item, given))
        mocked = self.mocked(name, item)
        if mocked is not None:
            return mocked[0]
        if not is_rehearsed(spec):
            raise unmocked(name, item, action.name)
        place = Place("", self._run_id, name, item, 1)
        return done(action, validated(action, given), spec, place, roots, _no_file).output

    def mocked(self, name: str, item: str) -> tuple[Any] | None:
        """The output that the case has for a step, wrapped; None where it has none.

        Raises StepError, Never, Unanswered.
        """
        answer = self._mocks.answer(name, item)
        return None if answer is None else (storable(given_by(answer)),)

    def has_mock(self, name: str, item: str) -> bool:
        """Whether the case has an answer for a step."""
        return self._mocks.name_of(name, item) is not None


def is_rehearsed(spec: dict[str, Any]) -> bool:
    """Whether a step (or a compensation) of these words is really done; all else needs a mock."""
    if spec["type"] == "wait":
        return any(spec["with"].get(word) is not None for word in ("duration", "until"))
    if spec["type"] in CONTROL_TYPES:
        return spec["type"] in SCOPE_TYPES
    action = get_action(spec["type"])
    return action.pure and action.queue == "any"


def _is_masked(value: Any) -> bool:
    if isinstance(value, str):
        return MASK in value
    if isinstance(value, dict):
        return any(_is_masked(each) for each in value.values())
    return isinstance(value, list) and any(_is_masked(each) for each in value)


def _no_file(_tenant: str, reference: FileRef) -> NoReturn:
    raise Permanent("FILE_MISSING", f"A rehearsal has no file {reference.name}.", "Mock the step that reads it.")
