"""Versions of workflows: a definition's text, checked, compiled and kept; immutable once it is there."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow.errors import NotFound
from nexusflow.settings import get_settings
from nexusflow.workflows.evaluation.expressions import check_jq
from nexusflow.workflows.language.checks import Limits, parse_definition
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.planning.plan import Plan, compile_plan
from nexusflow.workflows.saved.catalogue import catalogue

_KNOWN = sa.text(
    "SELECT id, number, number = (SELECT max(number) FROM workflow_versions WHERE workflow_id = :workflow) AS newest"
    " FROM workflow_versions WHERE workflow_id = :workflow AND digest = :digest ORDER BY number DESC LIMIT 1"
)
_ADD = sa.text(
    "INSERT INTO workflow_versions (id, tenant_id, workflow_id, number, digest, source, config, plan)"
    " SELECT :id, :tenant, :workflow, coalesce(max(number), 0) + 1, :digest, :source, :config, :plan"
    " FROM workflow_versions WHERE workflow_id = :workflow RETURNING id, number"
)


@dataclass(frozen=True)
class Version:
    """A saved, immutable version of a workflow."""

    id: str
    workflow: str
    name: str
    number: int
    definition: Definition
    plan: Plan


@dataclass(frozen=True)
class Compiled:
    """A definition that can be kept. ``config``: the definition as JSON, without what is default."""

    source: bytes
    definition: Definition
    plan: Plan
    config: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the text and the plan: the same text may be compiled otherwise by another release."""
        return hashlib.sha256(self.source + b"\x00" + self.stored_plan.encode()).hexdigest()

    @property
    def stored_plan(self) -> str:
        """The plan as it is kept."""
        return orjson.dumps(self.plan.to_json()).decode()

    @property
    def stored_config(self) -> str:
        """The definition as it is kept."""
        return orjson.dumps(self.config).decode()


def read_definition(source: bytes, name: str = "") -> Definition:
    """Read and check a definition under this deployment's limits and actions; ``name``: the file it came from.

    Raises InvalidDefinition with every problem at once.
    """
    settings = get_settings()
    limits = Limits(settings.max_definition_bytes, settings.max_steps)
    return parse_definition(source, catalogue(), name=name, limits=limits, check_jq=check_jq)


def compile_source(source: bytes, name: str = "") -> Compiled:
    """Check and compile a definition's text. Raises InvalidDefinition."""
    definition = read_definition(source, name)
    config = definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Compiled(source, definition, compile_plan(definition, catalogue()), config)


def keep_version(
    connection: sa.Connection, tenant: str, workflow: str, compiled: Compiled, *, older_too: bool = False
) -> tuple[str, int]:
    """The id and the number of the version that holds this text: the newest one if it does, else a new one.

    ``older_too``: any version that holds it will do. The caller has locked the workflow's row, so that numbers are
    handed out one at a time.
    """
    digest = compiled.digest
    known = connection.execute(_KNOWN, {"workflow": workflow, "digest": digest}).first()
    if known is not None and (older_too or known.newest):
        return str(known.id), int(known.number)
    values = {
        "id": str(uuid_utils.uuid7()),
        "tenant": tenant,
        "workflow": workflow,
        "digest": digest,
        "source": compiled.source.decode(),
        "config": compiled.stored_config,
        "plan": compiled.stored_plan,
    }
    made = connection.execute(_ADD, values).one()
    return str(made.id), int(made.number)


def unknown_workflow(workflow: str) -> NotFound:
    """What is said of a workflow that is not there."""
    return NotFound(
        f"There is no workflow {workflow[:80]}.", "nexusflow workflows list, or GET /v2/workflows, shows them."
    )


def no_version(number: int | None) -> NotFound:
    """What is said of a version that is not there."""
    return NotFound(
        f"The workflow has no version {number}.", "nexusflow workflows versions, or GET …/versions, lists them."
    )
