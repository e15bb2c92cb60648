"""Definition files: read, bounded, checked, with every problem shown at its place."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nexusflow.cli.console import say
from nexusflow.cli.problems import show_problems
from nexusflow.errors import InvalidDefinition, InvalidInput, Problem
from nexusflow.settings import get_settings
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.language.checks import Limits, parse_definition
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.saved.catalogue import catalogue

MAX_SHOWN = 25
"""Problems that people are shown at once."""


@dataclass(frozen=True)
class Source:
    """A definition's file: its name as given, and its bytes."""

    name: str
    content: bytes


def read_bounded(name: str, limit: int, *, wanted: str = "file") -> bytes:
    """A file's bytes, at most ``limit`` + 1 of them. Raises InvalidInput where it cannot be read."""
    try:
        with open_regular(name, wanted) as file:
            return file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise unreadable(name, error, wanted) from None


def open_regular(name: str, wanted: str) -> BinaryIO:
    """Open a file for reading; a pipe or a device, which might never end, is refused with InvalidInput."""
    # Without waiting: to open a pipe is to wait for its writer.
    file = open(name, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidInput(f"{name} is no regular file, so no {wanted}.", "Write what it gives to a file first.")
    return file


def unreadable(name: str, error: Exception, wanted: str) -> InvalidInput:
    """Why a file cannot be read, for people."""
    if isinstance(error, FileNotFoundError):
        return InvalidInput(f"There is no {wanted} {name}.", "Check the path; it is read from the folder you are in.")
    if isinstance(error, IsADirectoryError):
        return InvalidInput(f"{name} is a folder, not a {wanted}.", "Give the path of a file.")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidInput(f"{name} cannot be read: {reason}.", "Check the path and its permissions.")


def read_source(name: str) -> Source:
    """The definition in a file. Raises InvalidInput, InvalidDefinition (too big)."""
    limit = get_settings().max_definition_bytes
    content = read_bounded(name, limit, wanted="workflow file")
    if len(content) > limit:
        raise InvalidDefinition(
            [
                Problem(
                    "",
                    None,
                    None,
                    "TOO_BIG",
                    f"The definition is {Path(name).stat().st_size:,} bytes long; {limit:,} are allowed.",
                    "Move data out of the definition (pass it as input), or split the workflow.",
                )
            ]
        )
    return Source(name, content)


def check_source(source: Source) -> Definition:
    """The checked definition. Raises InvalidDefinition with every problem at once."""
    return parse_definition(
        source.content, catalogue(), name=source.name, limits=limits(), check_jq=get_sandbox().check_jq
    )


def limits() -> Limits:
    """How large a definition may be, as the settings say."""
    settings = get_settings()
    return Limits(definition_bytes=settings.max_definition_bytes, steps=settings.max_steps)


def show_invalid(name: str, error: InvalidDefinition, content: bytes | None) -> None:
    """Every problem of a definition for people, on standard error."""
    text = content.decode("utf-8", errors="replace").removeprefix("\ufeff") if content is not None else None
    show_problems(error.details[:MAX_SHOWN], name=name, text=text)
    count = len(error.details)
    if count > MAX_SHOWN:
        say(f"… and {count - MAX_SHOWN} more: nexusflow validate --json shows them.", "dim")
    say(f"{name} is not valid: {count} problem{'' if count == 1 else 's'}.", "bold red")
