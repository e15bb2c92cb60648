"""The errors a user or a workflow may meet, each with a code, a message and what to do."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document: where (JSON Pointer, 1-based line and column), what, and what to do."""

    path: str
    line: int | None
    column: int | None
    code: str
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The problem as the API and ``validate --json`` show it."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass
class NexusError(Exception):
    """An expected error: shown to its user as it is, never as a stack trace.

    ``code`` is a constant from a documented list, ``status`` the HTTP status it maps to,
    ``hint`` says what to do about it.
    """

    code: str
    message: str
    hint: str = ""
    status: int = 400
    details: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidDefinition(NexusError):
    """A workflow definition with one or more problems (``details``)."""

    def __init__(self, problems: list[Problem], message: str = "The workflow definition is not valid.") -> None:
        super().__init__("INVALID_DEFINITION", message, status=422, details=problems)


class InvalidInput(NexusError):
    """Input for a run, or an argument, that cannot be used."""

    def __init__(self, message: str, hint: str = "", details: list[Problem] | None = None) -> None:
        super().__init__("INVALID_INPUT", message, hint, 422, details or [])


class NotFound(NexusError):
    """Something named by an id or a name that is not there."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("NOT_FOUND", message, hint, 404)


class Unauthorized(NexusError):
    """No API key, or one that is not known, expired or revoked: ``UNAUTHORIZED``, 401. Which of them is not said."""

    def __init__(self, message: str = "The API key is missing or not valid.", hint: str = "") -> None:
        hint = hint or "Send Authorization: Bearer nxf_…; nexusflow keys create makes a key."
        super().__init__("UNAUTHORIZED", message, hint, 401)


class Conflict(NexusError):
    """What is asked for does not go with what is there (409).

    ``NAME_TAKEN``: another workflow has the name. ``ARCHIVED``: the workflow is archived, and starts nothing.
    ``IDEMPOTENCY_KEY_REUSED``: the key came before, with another request. ``LIMIT_REACHED``: as many runs of the
    workflow live as its `concurrency` allows, and it says to refuse more. ``NOBODY_WAITS``: a signal is for nobody.
    ``RUN_IS_LIVE``, ``NOTHING_FAILED``, ``RERUN_DOES_NOT_FIT``: a run that cannot be repeated so.
    ``CANNOT_EXPORT``: the run is not over, or more than a test file holds.
    """

    def __init__(self, code: str, message: str, hint: str = "", details: list[Problem] | None = None) -> None:
        super().__init__(code, message, hint, 409, details or [])


class QueueFull(NexusError):
    """As many of the tenant's runs wait as may: ``QUEUE_FULL``, 429. ``retry_in``: seconds until there may be room."""

    def __init__(self, message: str, retry_in: int) -> None:
        hint = f"Send it again in about {retry_in} s, with the same Idempotency-Key."
        super().__init__("QUEUE_FULL", message, hint, 429)
        self.retry_in = retry_in


class VersionChanged(NexusError):
    """Someone saved a version since the one the caller has seen: ``VERSION_CHANGED``, 412."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("VERSION_CHANGED", message, hint, 412)


class ClusterUnusable(NexusError):
    """The database, the broker or another part of the cluster cannot be used."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("CLUSTER_UNUSABLE", message, hint, 503)


@dataclass
class StepError(Exception):
    """Why a step's attempt failed: recorded at the step, never raised through a canvas.

    ``cause`` is who has to act: ``user`` (definition or data), ``provider`` (a vendor) or ``platform`` (NexusFlow).
    """

    code: str
    message: str
    hint: str = ""
    cause: str = "user"
    details: Any = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """The error as it is recorded and shown."""
        shown: dict[str, Any] = {"code": self.code, "message": self.message, "cause": self.cause}
        if self.hint:
            shown["hint"] = self.hint
        if self.details is not None:
            shown["details"] = self.details
        return shown


class Permanent(StepError):
    """Trying again would not help: a refused input, a missing credential, a 4xx answer."""


@dataclass
class Transient(StepError):
    """Trying again may help: a timeout, a 429, a 5xx answer, a dropped connection.

    ``retry_in``: seconds the vendor asked to wait (its Retry-After), or None.
    """

    cause: str = "provider"
    retry_in: float | None = None
