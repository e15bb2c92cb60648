"""How commands end: the exit codes, and one clear message for every error."""

import contextlib
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.exceptions import Abort

from nexusflow.cli.console import print_json, say, silence
from nexusflow.cli.problems import show_problems
from nexusflow.errors import ClusterUnusable, InvalidInput, NexusError

SUCCEEDED = 0
FAILED = 1
INVALID = 2
UNUSABLE = 3
DEFECT = 70
INTERRUPTED = 130

Failed = Callable[[NexusError], Any]
"""Gives the JSON document that says that a command could not be done."""


def misused(message: str) -> InvalidInput:
    """A command line that cannot be read."""
    return InvalidInput(
        message.rstrip(".") + ".", "nexusflow --help lists the commands, nexusflow COMMAND --help its flags."
    )


def error_document(error: NexusError) -> dict[str, Any]:
    """An error as programs get it."""
    shown: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if error.details:
        shown["problems"] = [each.as_dict() for each in error.details]
    return shown


def _plain(error: NexusError) -> dict[str, Any]:
    return {"error": error_document(error)}


def perform(command: Callable[[], int], *, as_json: bool = False, failed: Failed = _plain) -> int:
    """Do a command and give its exit code; whatever goes wrong is one clear message, never a trace."""
    try:
        return command()
    except NexusError as error:
        return _refuse(error, as_json=as_json, failed=failed)
    except (KeyboardInterrupt, Abort):  # the second by Ctrl-C or Ctrl-D at a question
        _refuse(NexusError("INTERRUPTED", "Interrupted.", status=499), as_json=as_json, failed=failed)
        return INTERRUPTED
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = ClusterUnusable("The disk is full.", "Free some space and try again.")
            return _refuse(full, as_json=as_json, failed=failed)
        return _confess(error, as_json=as_json, failed=failed)
    except Exception as error:
        refusal = _database_refusal(error)
        if refusal is not None:
            return _refuse(refusal, as_json=as_json, failed=failed)
        return _confess(error, as_json=as_json, failed=failed)


def _database_refusal(error: Exception) -> ClusterUnusable | None:
    """A database that is away, breaks off, or answers and is not what is needed (no schema, an older one)."""
    # What is not loaded did not ask a database.
    toolkit, driver = sys.modules.get("sqlalchemy.exc"), sys.modules.get("psycopg")
    is_ours = toolkit is not None and isinstance(error, toolkit.SQLAlchemyError)
    if not is_ours and (driver is None or not isinstance(error, driver.Error)):
        return None
    return ClusterUnusable(
        f"The database cannot serve this NexusFlow: {database_reason(error)}.",
        "nexusflow doctor says whether it can be reached, and which schema it has and needs.",
    )


def database_reason(error: Exception) -> str:
    """What a database or its driver said, in one line without its full stop: no statement, no values."""
    said = str(getattr(error, "orig", None) or error).partition("(Background on")[0].strip()
    return said.splitlines()[0].rstrip(".")[:300] if said else type(error).__name__


def _refuse(error: NexusError, *, as_json: bool, failed: Failed) -> int:
    if as_json:
        try:
            print_json(failed(error))
        except OSError:  # standard output is what cannot be written
            silence(sys.stdout)
            show_error(error)
    else:
        show_error(error)
    return UNUSABLE if isinstance(error, ClusterUnusable) else INVALID


def show_error(error: NexusError) -> None:
    """An error for people: what, where, and what to do."""
    say(f"Error: {error.message}", "bold red")
    if error.details:
        show_problems(error.details)
    if error.hint:
        say(f"  {error.hint}")


def _confess(error: Exception, *, as_json: bool, failed: Failed) -> int:
    """A defect of ours: the trace goes to a file, the person gets a line."""
    log = _keep_trace(error)
    where = f"details in {log}" if log else "its details could not be written anywhere"
    told = NexusError(
        "DEFECT", f"Unexpected error ({type(error).__name__}): this is a defect of NexusFlow; {where}.", status=500
    )
    _refuse(told, as_json=as_json, failed=failed)
    return DEFECT


def _keep_trace(error: Exception) -> Path | None:
    head = f"{datetime.now(UTC).isoformat()} nexusflow {' '.join(sys.argv[1:2])}\n"
    text = head + "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix="nexusflow-defect-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        return Path(name)
    return None
