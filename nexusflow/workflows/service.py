"""What one does with workflows: save a version, start a run, cancel it. The doors call these and nothing below."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
import uuid_utils

from nexusflow.db.session import control_session, tenant_session
from nexusflow.errors import InvalidInput, NotFound, Problem, StepError
from nexusflow.schemas import validate
from nexusflow.settings import get_settings
from nexusflow.workflows import models
from nexusflow.workflows.act import storable
from nexusflow.workflows.catalogue import catalogue
from nexusflow.workflows.checks import Limits, parse_definition
from nexusflow.workflows.consequences import patience
from nexusflow.workflows.definition import Definition
from nexusflow.workflows.expressions import check_jq
from nexusflow.workflows.plan import Plan, compile_plan
from nexusflow.workflows.statements import NEW_RUN_EVENT, WAKE


@dataclass(frozen=True)
class Version:
    """A saved, immutable version of a workflow."""

    id: str
    workflow: str
    name: str
    number: int
    definition: Definition
    plan: Plan


def ensure_tenant(name: str) -> str:
    """The id of the tenant of this name, which is made if there is none."""
    tenants = models.tenants
    with control_session() as connection:
        row = {"id": str(uuid_utils.uuid7()), "name": name}
        connection.execute(
            sa.text("INSERT INTO tenants (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING"), row
        )
        return str(connection.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).scalar_one())


def read_definition(source: bytes, name: str = "") -> Definition:
    """Read and check a definition under this deployment's limits and actions; ``name``: the file it came from.

    Raises InvalidDefinition with every problem at once.
    """
    settings = get_settings()
    limits = Limits(settings.max_definition_bytes, settings.max_steps)
    return parse_definition(source, catalogue(), name=name, limits=limits, check_jq=check_jq)


def save_version(tenant: str, source: bytes, name: str = "") -> Version:
    """Check, compile and keep a definition; the same text again is the same version. Raises InvalidDefinition."""
    definition = read_definition(source, name)
    plan = compile_plan(definition, catalogue())
    config = definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    with tenant_session(tenant) as connection:
        workflow = _ensure_workflow(connection, tenant, definition.name, config)
        version, number = _ensure_version(connection, tenant, workflow, source, config, plan)
    return Version(version, workflow, definition.name, number, definition, plan)


def _ensure_workflow(connection: sa.Connection, tenant: str, name: str, config: dict[str, Any]) -> str:
    statement = sa.text(
        "INSERT INTO workflows (id, tenant_id, name, config, status) VALUES (:id, :tenant, :name, :config, 'published')"
        " ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL"
        " DO UPDATE SET config = excluded.config, updated_at = now() RETURNING id"
    )
    values = {"id": str(uuid_utils.uuid7()), "tenant": tenant, "name": name, "config": _json(config)}
    return str(connection.execute(statement, values).scalar_one())


def _ensure_version(
    connection: sa.Connection, tenant: str, workflow: str, source: bytes, config: dict[str, Any], plan: Plan
) -> tuple[str, int]:
    """The workflow's row is locked by now, so numbers are handed out one at a time."""
    compiled = _json(plan.to_json())
    # The plan counts too: the same text may be compiled otherwise by another release.
    digest = hashlib.sha256(source + b"\x00" + compiled.encode()).hexdigest()
    versions = models.workflow_versions
    known = connection.execute(
        sa.select(versions.c.id, versions.c.number).where(
            versions.c.workflow_id == workflow, versions.c.digest == digest
        )
    ).first()
    if known is not None:
        return str(known.id), int(known.number)
    statement = sa.text(
        "INSERT INTO workflow_versions (id, tenant_id, workflow_id, number, digest, source, config, plan)"
        " SELECT :id, :tenant, :workflow, coalesce(max(number), 0) + 1, :digest, :source, :config, :plan"
        " FROM workflow_versions WHERE workflow_id = :workflow RETURNING id, number"
    )
    values = {
        "id": str(uuid_utils.uuid7()),
        "tenant": tenant,
        "workflow": workflow,
        "digest": digest,
        "source": source.decode(),
        "config": _json(config),
        "plan": compiled,
    }
    made = connection.execute(statement, values).one()
    return str(made.id), int(made.number)


def start_run(tenant: str, version: Version, given: dict[str, Any]) -> str:
    """Accept a run: durable when this returns. Gives the run's id. Raises InvalidInput.

    Its first segments are rows like all others; the dispatcher, woken at the commit, publishes them.
    """
    value = checked_input(version.definition, given)
    run = str(uuid_utils.uuid7())
    top = version.plan.scopes[""]
    segments = [version.plan.segments[entry] for entry in top.entries]
    with tenant_session(tenant) as connection:
        connection.execute(
            sa.text(
                "INSERT INTO runs (id, tenant_id, workflow_id, version_id, input, deadline)"
                " VALUES (:id, :tenant, :workflow, :version, :input, now() + make_interval(secs => :timeout))"
            ),
            {
                "id": run,
                "tenant": tenant,
                "workflow": version.workflow,
                "version": version.id,
                "input": _json(value),
                "timeout": version.definition.timeout,
            },
        )
        connection.execute(
            sa.insert(models.segments),
            [
                {
                    "run_id": run,
                    "segment": each.id,
                    "item": "",
                    "lo": 0,
                    "tenant_id": tenant,
                    "queue": each.queue,
                    "patience": patience(version.plan, each),
                }
                for each in segments
            ],
        )
        connection.execute(sa.text(NEW_RUN_EVENT), {"run": run, "tenant": tenant})
        connection.execute(sa.text(WAKE))
    return run


def checked_input(definition: Definition, given: dict[str, Any]) -> dict[str, Any]:
    """The run's input with the schema's top-level defaults filled in. Raises InvalidInput with every problem."""
    schema = definition.input.schema_
    value = {
        name: spec["default"]
        for name, spec in schema.get("properties", {}).items()
        if isinstance(spec, dict) and "default" in spec
    } | given
    try:
        storable(value, "input")
    except StepError as error:
        is_large = error.code == "VALUE_TOO_LARGE"
        raise InvalidInput(error.message, "Give large data as a file: KEY=@FILE." if is_large else error.hint) from None
    problems = [
        Problem(each.pointer, None, None, "INVALID_INPUT", each.message, "See `input.schema` of the workflow.")
        for each in validate(schema, value)
    ]
    if problems:
        raise InvalidInput("The input does not fit the workflow's schema.", details=problems)
    return value


def cancel_run(tenant: str, run: str) -> str:
    """Ask a run to end: nothing new starts, and it is cancelled once nothing of it runs. Gives its status now.

    Raises NotFound.
    """
    with tenant_session(tenant) as connection:
        error = _json({"code": "CANCELLED", "message": "The run was cancelled.", "cause": "user"})
        statement = sa.text(
            "UPDATE runs SET ending = 'cancelled', ending_at = now(), cause = 'user', error = :error"
            " WHERE id = :run AND ending IS NULL AND finished_at IS NULL"
        )
        connection.execute(statement, {"run": run, "error": error})
        connection.execute(sa.text(WAKE))
        status = connection.execute(sa.select(models.runs.c.status).where(models.runs.c.id == run)).scalar_one_or_none()
    if status is None:
        raise NotFound(f"There is no run {run}.")
    return str(status)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
