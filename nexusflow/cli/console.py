"""Where the command line writes: results to standard output, all else to standard error, JSON as one document."""

import json
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.segment import Segment

from nexusflow.errors import InvalidInput

PLAIN_WIDTH = 140
"""Columns of a table that is written to a file or a pipe."""
_HARMLESS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Vendors, tenants and messages give texts that are shown; none of them may steer a terminal."""


class _Console(Console):
    """A console whose reader may go away: what is left to say is then dropped, and the command goes on."""

    def on_broken_pipe(self) -> None:
        """Write no more."""
        silence(self.file)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            each if each.control else Segment(each.text.translate(_HARMLESS), each.style) for each in buffer
        )


def silence(stream: Any) -> None:
    """Send a stream whose reader is gone to nowhere, so that nothing is raised at the interpreter's end either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def open_missing_streams() -> None:
    """A program may be started with its output closed: what it would say then goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - to the end


def out() -> Console:
    """Standard output: results."""
    return _console(sys.stdout)


def err() -> Console:
    """Standard error: progress, problems, advice."""
    return _console(sys.stderr)


@lru_cache(maxsize=4)
def _console(stream: TextIO) -> Console:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a terminal that lacks a character still shows the rest
    width = None if stream.isatty() else PLAIN_WIDTH
    return _Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def speaks_unicode(console: Console) -> bool:
    """Whether symbols beyond ASCII can be shown."""
    return console.encoding.lower().startswith("utf")


def say(text: str = "", style: str | None = None, *, to: Console | None = None) -> None:
    """A line for people, on standard error unless said otherwise; never broken into several."""
    (to or err()).print(text, style=style, soft_wrap=True)


def _plain(value: Any) -> str:
    """A moment as ISO 8601 in UTC, as the API gives it; all else as text."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def is_sure(question: str, doing: str) -> bool:
    """Ask on the terminal. Raises InvalidInput where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InvalidInput(f"{doing} has to be confirmed, and nobody can be asked here.", "Add --yes.")
    return typer.confirm(question, err=True)


def print_json(document: Any) -> None:
    """The one JSON document that ``--json`` promises, on standard output."""
    try:
        sys.stdout.write(json.dumps(document, ensure_ascii=True, indent=2, default=_plain) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def print_text(text: str) -> None:
    """A text as it is, on standard output."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
