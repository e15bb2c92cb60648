"""Which answer a step's call gets from a case's mocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nexusflow.errors import Permanent, StepError, Transient
from nexusflow.workflows.rehearsal.cases import MockedAnswer, MockedError
from nexusflow.workflows.rehearsal.places import show_place


class Unanswered(Exception):
    """A call that nothing answers: the case stops there. ``path``, ``item``: where."""

    def __init__(self, path: str, item: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.path, self.item, self.message, self.hint = path, item, message, hint


class Never(Exception):
    """A call that is not answered, as the case says."""


@dataclass
class Mocks:
    """A case's answers by place; ``used``: how many of each were given."""

    answers: Mapping[str, MockedAnswer | tuple[MockedAnswer, ...]]
    used: dict[str, int] = field(default_factory=dict)

    def answer(self, path: str, item: str) -> MockedAnswer | None:
        """The answer to the next call of a step at an item; None where it has no mock. Raises Unanswered."""
        place, name = show_place(path, item), self.name_of(path, item)
        if name is None:
            return None
        count = self.used[name] = self.used.get(name, 0) + 1
        given = self.answers[name]
        if isinstance(given, MockedAnswer):
            return given
        if count > len(given):
            answers = f"{len(given)} answers" if len(given) > 1 else "1 answer"
            message = f"Step {place} is called for the {_ordinal(count)} time; its mock has {answers}."
            raise Unanswered(path, item, message, f"Add one to 'mocks' under {name}, or write one answer without list.")
        return given[count - 1]

    def name_of(self, path: str, item: str) -> str | None:
        """Under which name there is an answer for a step at an item."""
        return next((name for name in (show_place(path, item), path) if name in self.answers), None)

    def unused(self) -> list[str]:
        """The places whose mocks no call came to."""
        return [name for name in self.answers if name not in self.used]


def given_by(answer: MockedAnswer) -> Any:
    """The output of an answer. Raises its StepError, or Never."""
    if answer.never:
        raise Never
    if answer.error is not None:
        raise _raised(answer.error)
    return answer.output


def unmocked(path: str, item: str, kind: str) -> Unanswered:
    """A step with an effect and without a mock."""
    message = f"Step {show_place(path, item)} does {kind}, which a rehearsal does not do."
    return Unanswered(path, item, message, f"Mock its answer: mocks: {{{path}: {{output: …}}}}")


def _raised(error: MockedError) -> StepError:
    message = error.message or f"Mocked: {error.code}."
    if error.transient:
        return Transient(error.code, message, error.hint, error.cause, error.details)
    return Permanent(error.code, message, error.hint, error.cause, error.details)


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
