"""A reader who does everything a page says, in order, and looks at what comes."""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance.docs.blocks import Block, read_blocks
from tests.acceptance.docs.clone import environment
from tests.acceptance.docs.shown import agrees, begins
from tests.acceptance.docs.terminal import CommandFailed, Staying, Terminal

READY_SECONDS = 60.0
UP = "nexusflow up\n"
PRINTED_BY_UP = {
    "http://127.0.0.1:8080": r"(?<=is up at )http://127\.0\.0\.1:\d+",
    "nxf_…": r"(?<=API key: )nxf_[\w-]+",
}


def stand_ins_of(up: Staying) -> dict[str, str]:
    """The address and the key that ``nexusflow up`` printed, by what the pages write for them."""
    printed = up.printed()
    found = {written: re.search(pattern, printed) for written, pattern in PRINTED_BY_UP.items()}
    return {written: match[0] for written, match in found.items() if match}


def wait_for(staying: Staying, shown: Block, stand_ins: Mapping[str, str] | None = None) -> None:
    """Until a command that stays has printed what the page shows."""
    deadline = time.monotonic() + READY_SECONDS
    while not begins(shown.text, emptied(staying.printed(), {**(stand_ins or {}), **stand_ins_of(staying)})):
        if not staying.runs or time.monotonic() > deadline:
            raise CommandFailed(f"{shown} is not what was printed:\n{staying.printed()}")
        time.sleep(0.1)


def filled(text: str, stand_ins: dict[str, str]) -> str:
    """A page's text with what is here in place of what the page writes."""
    for written, here in stand_ins.items():
        text = text.replace(written, here)
    return text


def emptied(text: str, stand_ins: dict[str, str]) -> str:
    """What was printed, as the page writes it."""
    for written, here in stand_ins.items():
        text = text.replace(here, written)
    return text


class Reader:
    """Follows one page in a clone.

    ``stand_ins``: what the page writes for what is different on each machine (a host, a key), and what it is here.
    ``up``: gives the ``nexusflow up`` that all pages share, once it is asked for.
    """

    def __init__(self, page: str, clone: Path, stand_ins: dict[str, str], up: Callable[[], Staying]) -> None:
        self._clone, self._stand_ins, self._up = clone, dict(stand_ins), up
        self._blocks = read_blocks(page)
        self._environment = environment(clone, set_up=page != "quickstart")
        self._terminal = Terminal(clone, self._environment)
        self._staying: list[Staying] = []

    def follow(self) -> None:
        """Do the page. Raises CommandFailed at the first block that does not come true."""
        printed, stayed = "", None
        for block in self._blocks:
            match block.kind:
                case "file":
                    (self._clone / block.file_name).write_text(filled(block.text, self._stand_ins), encoding="utf-8")
                case "command" if block.stays:
                    stayed = self._stay(block)
                case "command" | "program":
                    printed, stayed = self._run(block), None
                case "output" if stayed is not None:
                    wait_for(stayed, block, self._stand_ins)
                    self.join(stayed)
                case "output":
                    if not agrees(block.text, emptied(printed, self._stand_ins), block.language):
                        raise CommandFailed(f"{block} shows\n{block.text}\nbut this was printed:\n{printed}")
                case "picture" | "skipped":
                    pass

    def join(self, up: Staying) -> None:
        """From now on the address and the key that it printed stand for those that the pages show."""
        self._stand_ins |= stand_ins_of(up)

    def _run(self, block: Block) -> str:
        text = filled(block.text, self._stand_ins)
        if block.kind == "program":
            program = self._clone.parent / f"program_{block.line}.py"
            program.write_text(text, encoding="utf-8")
            text = f"python {program}\n"
        try:
            return self._terminal.run(text, block.exit_code)
        except CommandFailed as failed:
            raise CommandFailed(f"{block}: {failed}") from None

    def _stay(self, block: Block) -> Staying:
        if block.text == UP:
            self.join(self._up())
            return self._up()
        self._staying.append(Staying(filled(block.text, self._stand_ins), self._clone, self._environment))
        return self._staying[-1]

    def close(self) -> None:
        """Leave the page: Ctrl-C in each terminal, the newest first."""
        self._terminal.close()
        with ExitStack() as stops:  # all of them, whatever one does
            for staying in self._staying:
                stops.callback(staying.stop)
