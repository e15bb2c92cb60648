"""``nexusflow run`` on the embedded cluster: what it says, what it gives, how it ends."""

import os
import pty
import re
import select
import signal
import subprocess
import time

from nexusflow.embedded.home import Home
from tests.acceptance.cli.conftest import PROGRAM, WAIT_SECONDS, CommandLine

GREET = """\
nexusflow: "1"
name: greet
input:
  schema:
    type: object
    required: [file]
    properties:
      file: { type: object }
      name: { type: string, default: Ada }
      pin: { type: string, x-sensitive: true }
steps:
  - { id: read, type: csv.read, with: { file: "${{ input.file }}" } }
  - id: each
    type: foreach
    needs: [read]
    with: { items: "${{ steps.read.output.rows }}", as: row }
    steps: [{ id: shout, type: transform, with: { input: "${{ row.word }}", jq: ascii_upcase } }]
output: { name: "${{ input.name }}", words: "${{ steps.each.output }}", total: "${{ steps.read.output.total }}" }
"""
LEAK = """\
nexusflow: "1"
name: leak
input: { schema: { properties: { token: { type: string, x-sensitive: true } } } }
steps:
  - { id: echo, type: transform, with: { input: "${{ input.token }}", jq: '{said: ("token " + .), length: length}' } }
  - { id: boom, type: transform, needs: [echo], with: { input: "${{ input.token }}", jq: error }, on_error: continue }
  - id: told
    type: transform
    needs: [boom]
    join: all_done
    with: { input: ["${{ steps.echo.output }}", "${{ steps.boom.error }}"], jq: . }
"""
FAIL = """\
nexusflow: "1"
name: fail
steps:
  - { id: boom, type: transform, with: { input: text, jq: .a } }
  - { id: after, type: transform, needs: [boom], with: { jq: . } }
"""
SLOW = """\
nexusflow: "1"
name: slow
steps:
  - { id: quick, type: transform, with: { jq: . } }
  - id: call
    type: http.request
    needs: [quick]
    with: { url: "http://127.0.0.1:9/" }
    retry: { max: 100, backoff: constant, initial: 1s }
"""
RUN_ID = re.compile(r"Run ([0-9a-f-]{36}) of")


def run_id(said: str) -> str:
    found = RUN_ID.search(said)
    assert found is not None, said
    return found.group(1)


def test_a_run_succeeds_with_a_file_and_tells_people_its_result(nexusflow: CommandLine) -> None:
    nexusflow.write("words.csv", "word\nred\ngreen\n")
    nexusflow.write("greet.yaml", GREET)
    done = nexusflow("run", "greet.yaml", "--input", "file=@words.csv", "-i", "pin=1234")
    assert done.code == 0, done.err
    lines = {line.rstrip() for line in done.out.splitlines()}
    assert lines == {"name   Ada", "total  2", 'words  ["RED", "GREEN"]'}
    assert "each succeeded (2 of 2 items)" in done.err
    assert "greet succeeded in" in done.err
    run = run_id(done.err)
    assert f"nexusflow runs show {run}" in done.err
    shown = nexusflow("runs", "show", run)
    assert shown.code == 0
    assert "1234" not in shown.out, "the pin is sensitive"
    assert '"pin": "***"' in shown.out
    assert "run.succeeded" in shown.out


def test_a_program_gets_one_document(nexusflow: CommandLine) -> None:
    nexusflow.write("words.csv", "word\nred\n")
    nexusflow.write("greet.yaml", GREET)
    nexusflow.write("in.json", '{"name": "Grace"}')
    done = nexusflow("run", "greet.yaml", "-i", "@in.json", "-i", "file=@words.csv", "--json")
    assert done.code == 0, done.err
    assert list(done.json) == ["run_id", "status", "output", "error", "steps"]
    assert done.json["status"] == "succeeded"
    assert done.json["output"] == {"name": "Grace", "words": ["RED"], "total": 1}
    assert done.json["error"] is None
    steps = {step["step"]: step for step in done.json["steps"]}
    assert steps["each"]["items"] == {"done": 1, "failed": 0, "total": 1}
    assert steps["each/shout"]["counts"] == {"succeeded": 1}
    shown = nexusflow("runs", "show", done.json["run_id"], "--json")
    assert shown.json["output"] == done.json["output"]
    assert shown.json["events"][0]["type"] == "run.accepted"


def test_sensitive_input_is_never_shown(nexusflow: CommandLine) -> None:
    nexusflow.write("leak.yaml", LEAK)
    done = nexusflow("run", "leak.yaml", "-i", "token=open-sesame", "--json")
    assert done.code == 0, done.err
    assert done.json["output"][0] == {"said": "token ***", "length": 11}, "expressions get the real value"
    assert "***" in done.json["output"][1]["message"]
    assert "boom failed" in done.err
    shown = [nexusflow("runs", "show", done.json["run_id"], *form) for form in ((), ("--json",))]
    for said in (done, *shown):
        assert "***" in said.out
        assert "sesame" not in said.out + said.err
    logs = list(Home(nexusflow.home).logs.glob("*.log"))
    assert logs
    assert [log.name for log in logs if "sesame" in log.read_text(errors="replace")] == []


def test_a_run_that_fails_says_which_step_and_why(nexusflow: CommandLine) -> None:
    nexusflow.write("fail.yaml", FAIL)
    done = nexusflow("run", "fail.yaml")
    assert (done.code, done.out) == (1, "")
    assert "boom failed" in done.err
    assert "after cancelled: not started" in done.err
    assert "[EXPRESSION_FAILED]" in done.err
    assert "Who has to act: user" in done.err
    document = nexusflow("run", "fail.yaml", "--json")
    assert document.code == 1
    assert (document.json["status"], document.json["error"]["step"]) == ("failed", "boom")
    shown = nexusflow("runs", "show", document.json["run_id"])
    assert shown.code == 0, "the command did what it was asked to"
    assert "EXPRESSION_FAILED" in shown.out


def test_workflows_runs_and_keys_of_an_embedded_cluster(nexusflow: CommandLine) -> None:
    nexusflow.write("slow.yaml", SLOW)
    saved = nexusflow("workflows", "save", "slow.yaml", "--publish", "--json").json
    assert (saved["name"], saved["status"]) == ("slow", "published")
    command = nexusflow.start("run", "slow.yaml", "--json")
    command.until_it_says("call retrying")
    (live,) = nexusflow("runs", "list", "--workflow", "slow", "--status", "running", "--json").json
    watched = nexusflow.start("runs", "watch", live["id"], "--json")
    watched.until_it_says(live["id"])
    assert nexusflow("runs", "cancel", live["id"][:13]).code == 0
    assert watched.done().json["status"] == command.done().json["status"] == "cancelled"
    assert nexusflow("keys", "create", "test").out.startswith("nxf_")
    assert nexusflow("workflows", "delete", "slow", "--yes").code == 0
    assert nexusflow("runs", "show", live["id"], "--json").json["workflow"] == "slow"


def test_ctrl_c_cancels_the_run_and_waits_for_its_end(nexusflow: CommandLine) -> None:
    nexusflow.write("slow.yaml", SLOW)
    command = nexusflow.start("run", "slow.yaml", "--json")
    command.until_it_says("call retrying")
    command.signal(signal.SIGINT)
    done = command.done()
    assert done.code == 130
    assert done.err.count("Cancelling the run") == 1
    assert done.json["status"] == "cancelled"
    assert done.json["error"]["code"] == "CANCELLED"
    assert nexusflow("runs", "show", done.json["run_id"], "--json").json["status"] == "cancelled"


def test_sigterm_is_like_ctrl_c(nexusflow: CommandLine) -> None:
    nexusflow.write("slow.yaml", SLOW)
    command = nexusflow.start("run", "slow.yaml")
    command.until_it_says("call retrying")
    command.signal(signal.SIGTERM)
    done = command.done()
    assert (done.code, done.out) == (130, "")
    assert "slow was cancelled." in done.err


def test_a_second_ctrl_c_leaves_at_once(nexusflow: CommandLine) -> None:
    nexusflow.write("slow.yaml", SLOW)
    command = nexusflow.start("run", "slow.yaml", "--json")
    command.until_it_says("call retrying")
    # Whatever the cancelling is up to: two signals within a moment are two signals.
    began = time.monotonic()
    command.signal(signal.SIGINT)
    time.sleep(0.02)
    command.signal(signal.SIGINT)
    done = command.done()
    assert done.code == 130
    assert time.monotonic() - began < 5
    assert done.json["run_id"] == run_id(done.err)


def test_a_reader_that_goes_away_is_no_error(nexusflow: CommandLine) -> None:
    nexusflow.write("fail.yaml", FAIL)
    command = nexusflow.start("run", "fail.yaml", "--json")
    assert command.process.stdout is not None
    command.process.stdout.close()
    assert command.process.wait(WAIT_SECONDS) == 1
    assert "BrokenPipe" not in command.said()
    assert "Exception ignored" not in command.said()


def test_a_terminal_gets_a_live_table_with_a_bar_and_colour(nexusflow: CommandLine) -> None:
    nexusflow.write("words.csv", "word\n" + "".join(f"w{n}\n" for n in range(300)))
    nexusflow.write("greet.yaml", GREET)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(PROGRAM), "run", "greet.yaml", "-i", "file=@words.csv"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=nexusflow.folder,
        env=nexusflow.environment() | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(theirs)
    said = _read_all(ours, process)
    assert process.returncode == 0, said
    assert "\x1b[?25l" in said, "the cursor is hidden while the table is redrawn"
    assert said.rstrip().rfind("\x1b[?25h") > said.find("\x1b[?25l"), "and shown again"
    assert re.search(r"\x1b\[[0-9;]*32m", said), "green"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert re.search(r"✓ each\s+foreach\s+succeeded\s+300 of 300", plain)
    assert "300 succeeded" in plain


def _read_all(terminal: int, process: "subprocess.Popen[bytes]") -> str:
    chunks, deadline = [], time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        try:
            chunk = os.read(terminal, 65536) if ready else b""
        except OSError:
            break
        chunks.append(chunk)
        if not ready and process.poll() is not None:
            break
    os.close(terminal)
    process.wait(10)
    return b"".join(chunks).decode(errors="replace")
