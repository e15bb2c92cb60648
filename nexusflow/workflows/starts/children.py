"""Runs that a step of another run starts: at most one a step and item, however often it is asked for."""

import sqlalchemy as sa

from nexusflow.db.session import tenant_session
from nexusflow.errors import ClusterUnusable, Conflict, InvalidInput, NexusError, NotFound, Permanent
from nexusflow.settings import get_settings
from nexusflow.suggestions import closest
from nexusflow.workflows.engine.calling import Call
from nexusflow.workflows.engine.failing import RunEnding
from nexusflow.workflows.starts.starting import Parent, start_runs

MAX_NAMES = 1_000

_PARENT = sa.text("""
SELECT p.depth, p.ending IS NULL AND p.finished_at IS NULL AS lives, CAST(p.pins ->> :name AS int) AS pinned, w.id
FROM runs p LEFT JOIN workflows w ON w.name = :name AND w.deleted_at IS NULL WHERE p.id = :run
""")
_NAMES = sa.text("SELECT name FROM workflows WHERE deleted_at IS NULL ORDER BY updated_at DESC LIMIT :most")


def start_child(call: Call) -> str:
    """Start the run that a step calls; the same one however often it is asked. Gives its id.

    Raises Permanent where it cannot be started, RunEnding where the caller is about to end, ClusterUnusable.
    """
    with tenant_session(call.tenant) as connection:
        found = connection.execute(_PARENT, {"run": call.run, "name": call.workflow}).first()
        if found is None or not found.lives:
            raise RunEnding
        if found.id is None:
            names = [row.name for row in connection.execute(_NAMES, {"most": MAX_NAMES})]
            raise _unknown(call.workflow, names)
    most = get_settings().max_call_depth
    if found.depth >= most:
        raise Permanent(
            "CALLED_TOO_DEEP",
            f"Runs call each other {found.depth:,} deep here; more than {most:,} are not allowed.",
            f"See whether {call.workflow} calls itself without end; or raise NEXUSFLOW_MAX_CALL_DEPTH.",
        )
    parent = Parent(call.run, call.step, call.item, call.closer, call.queue, found.depth + 1)
    version = call.version if call.version is not None else found.pinned
    try:
        started = start_runs(
            call.tenant, str(found.id), [call.input], version=version, trigger="workflow", parent=parent, mock=call.mock
        )
    except ClusterUnusable:
        raise
    except NexusError as error:
        raise _refused(call, error) from None
    if not started.run_ids:
        raise RunEnding
    return started.run_ids[0]


def _unknown(name: str, names: list[str]) -> Permanent:
    meant = closest(name, names)
    hint = f"Did you mean {meant}?" if meant else "Save it first: nexusflow workflows save FILE, or POST /v2/workflows."
    return Permanent("UNKNOWN_WORKFLOW", f"There is no workflow {name} to call.", hint)


def _refused(call: Call, error: NexusError) -> Permanent:
    """Why a workflow could not be started, as the error of the step that calls it."""
    name = call.workflow
    if isinstance(error, InvalidInput):
        problems = [{"path": each.path, "message": each.message} for each in error.details]
        shown = "; ".join(f"{each['path'] or 'the input'}: {each['message']}" for each in problems[:5])
        message = f"The input does not fit the workflow {name}: {shown}." if shown else f"{error.message}"
        return Permanent("INVALID_STEP_INPUT", message, f"See `input.schema` of {name}.", details=problems[:50])
    if isinstance(error, NotFound):
        return Permanent("UNKNOWN_WORKFLOW", f"The workflow {name} cannot be called: {error.message}", error.hint)
    if isinstance(error, Conflict):
        return Permanent("WORKFLOW_NOT_STARTED", f"The workflow {name} cannot be called: {error.message}", error.hint)
    return Permanent(error.code, error.message, error.hint)
