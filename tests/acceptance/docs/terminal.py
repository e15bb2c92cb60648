"""A reader's terminals: one that keeps variables and folder from block to block, and those where something stays."""

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from tests.servers.guardian import guardian

BLOCK_SECONDS = 90.0
STOP_SECONDS = 10.0


class CommandFailed(AssertionError):
    """A command of a page did not do what the page says."""


class Terminal:
    """A bash that reads blocks until it is closed. A command that fails ends its block, as ``set -e`` does."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._scratch = guardian.folder("terminal")
        self._blocks = 0
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-euo", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        guardian.watch_group(self._bash.pid)

    def run(self, text: str, code: int = 0) -> str:
        """Run the commands and give what they printed. Raises CommandFailed for another exit code than this."""
        self._blocks += 1
        script, output = self._scratch / f"{self._blocks}.sh", self._scratch / f"{self._blocks}.out"
        script.write_text(text, encoding="utf-8")
        lenient = "set +e;" if code else ""
        line = f"{lenient} {{ . {script}; }} >{output} 2>&1 </dev/null; code=$?; set -e; echo $code\n"
        assert self._bash.stdin is not None
        self._bash.stdin.write(line.encode())
        self._bash.stdin.flush()
        answer = self._answer()
        printed = output.read_text(encoding="utf-8", errors="replace")
        if answer != str(code):
            ended = {"": "failed", "late": f"is not done after {BLOCK_SECONDS:g} s"}.get(answer, f"exits with {answer}")
            raise CommandFailed(f"this {ended}, not with {code}:\n{text}\nIt printed:\n{printed}")
        return printed

    def _answer(self) -> str:
        """The exit code; "" where bash has ended, "late" where nothing comes."""
        assert self._bash.stdout is not None
        deadline, said = time.monotonic() + BLOCK_SECONDS, b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self._bash.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return "late"
            part = os.read(self._bash.stdout.fileno(), 100)
            if not part:
                return ""
            said += part
        return said.decode().strip()

    def close(self) -> None:
        """End the terminal and what still runs in it."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.close()
        try:
            self._bash.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
        self._bash.stdout.close()
        guardian.forget_group(self._bash.pid)


class Staying:
    """A command in a terminal of its own, until Ctrl-C."""

    def __init__(self, text: str, folder: Path, environment: dict[str, str]) -> None:
        self.text = text
        self._log = guardian.folder("terminal") / "out"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                ["bash", "--norc", "--noprofile", "-euc", text],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        guardian.watch_group(self._process.pid)

    def printed(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Press Ctrl-C, again if need be, then ask by SIGTERM. Raises CommandFailed for what did not end in order."""
        had_ended = not self.runs
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            if self.runs:
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        hangs = self.runs
        if hangs:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        guardian.forget_group(self._process.pid)
        if had_ended or hangs or "Traceback" in self.printed():
            how = "had ended" if had_ended else "did not end" if hangs else "ended badly"
            raise CommandFailed(f"this {how}:\n{self.text}\n{self.printed()[-3000:]}")
