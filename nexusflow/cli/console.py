"""Where the command line writes: results to standard output, all else to standard error, JSON as one document."""

import json
import os
import sys
from functools import lru_cache
from typing import Any, TextIO

from rich.console import Console

PLAIN_WIDTH = 140
"""Columns of a table that is written to a file or a pipe."""


class _Console(Console):
    """A console whose reader may go away: what is left to say is then dropped, and the command goes on."""

    def on_broken_pipe(self) -> None:
        """Write no more."""
        silence(self.file)


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


def print_json(document: Any) -> None:
    """The one JSON document that ``--json`` promises, on standard output."""
    try:
        sys.stdout.write(json.dumps(document, ensure_ascii=True, indent=2, default=str) + "\n")
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
