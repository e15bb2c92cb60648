"""What an action is: a name, a queue, an Input and an Output schema, and a function that does it once."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field

from nexusflow.errors import Permanent

ActionQueue = Literal["workflow", "integration", "notification", "any"]
"""``any``: cheap and pure, runs wherever its neighbours run."""


class ActionModel(BaseModel):
    """Base of every Input and Output: unknown fields are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class FileRef(ActionModel):
    """A file kept by the cluster and passed by reference (``{"$file": id, …}``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    file: str = Field(alias="$file")
    name: str
    size: int
    sha256: str
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class StepContext:
    """What the engine gives an action beside its input.

    ``idempotency_key`` is the same on every attempt of this step in this run: hand it to every vendor that takes one.
    ``deadline`` is on ``time.monotonic()``'s clock: a call that may hang takes its timeout from ``remaining()``.
    ``connection`` holds the credentials of the step's connection. ``open_file`` streams a file kept by the cluster.
    ``jq`` runs a jq program on a value inside the engine's sandbox and raises ``StepError`` for one that fails.
    """

    tenant_id: str
    run_id: str
    step: str
    item: str
    attempt: int
    idempotency_key: str
    deadline: float
    connection_name: str = ""
    connection: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private_addresses: str = ""
    open_file: Callable[[FileRef], AbstractContextManager[BinaryIO]] | None = field(default=None, repr=False)
    jq: Callable[[str, Any], Any] | None = field(default=None, repr=False)

    def remaining(self) -> float:
        """Seconds left until the step's timeout; at least 0.001, so that it can be given to any client."""
        return max(0.001, self.deadline - time.monotonic())

    def credential(self, name: str) -> str:
        """One value of the step's connection; raises Permanent CREDENTIAL_MISSING with what to set."""
        value = self.connection.get(name, "")
        if not value:
            lack = f"has no '{name}'" if self.connection else "is not in the settings"
            raise Permanent(
                "CREDENTIAL_MISSING",
                f"The connection '{self.connection_name}' {lack}.",
                f"Set {self.variable(name)}, or name another connection at the step.",
            )
        return value

    def variable(self, name: str) -> str:
        """The environment variable that holds this value of the step's connection."""
        return f"NEXUSFLOW_CONNECTIONS__{self.connection_name}__{name}".upper().replace("-", "_")


@dataclass(frozen=True)
class Action:
    """One action of a connector.

    ``run(context, input)`` does it once and returns an ``output`` model (or a plain JSON value for it);
    it raises ``Transient`` (the engine retries) or ``Permanent``. ``pure``: deterministic and without outside effect.
    ``connection``: the default connection's name; "" where a step may name one but needs none; None where it may not.
    """

    name: str
    queue: ActionQueue
    input: type[BaseModel]
    output: type[BaseModel] | None
    run: Callable[[StepContext, Any], Any]
    summary: str
    pure: bool = False
    connection: str | None = None
