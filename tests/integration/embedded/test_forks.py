"""Processes as copies of this one, and as programs of their own where processes cannot be copied."""

import os
import socket
from pathlib import Path

import pytest

from nexusflow.embedded import forks
from nexusflow.embedded.children import Child
from nexusflow.embedded.forks import Forked, apart
from nexusflow.embedded.parts import stop_together
from nexusflow.embedded.ports import HOST, listen
from nexusflow.errors import ClusterUnusable
from tests.integration.embedded import greeter
from tests.integration.embedded.conftest import ROOT


@pytest.mark.parametrize("copies", [True, False])
def test_a_process_serves_the_socket_that_its_starter_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    monkeypatch.setattr(forks, "FORKS", copies)
    listener = listen(HOST, 0)
    environment = {"PATH": os.defpath, "GREETING": "hello"}
    child = Forked(
        "greeter",
        greeter.greet,
        greeter.__name__,
        [],
        log=tmp_path / "log",
        env=environment,
        cwd=ROOT,
        listener=listener,
    )
    with listener:
        for _ in range(2):
            child.start()
            with socket.create_connection(listener.getsockname(), timeout=10) as connection:
                assert connection.recv(100) == b"hello"
            assert child.wait(10)
            assert child.how_it_ended() == "exit code 7"
            assert child.has_failed()


def test_what_is_done_apart_leaves_nothing_here() -> None:
    assert apart(os.getpid) != os.getpid()

    def refuse() -> None:
        raise ClusterUnusable("There is none.", "Start one.")

    with pytest.raises(ClusterUnusable, match="There is none") as caught:
        apart(refuse)
    assert (caught.value.code, caught.value.hint) == ("CLUSTER_UNUSABLE", "Start one.")


def test_what_goes_wrong_apart_is_raised_here_with_its_trace(capfd: pytest.CaptureFixture[str]) -> None:
    class Local(Exception):
        """One that another process cannot make."""

    def stumble(error: Exception) -> None:
        raise error

    for raised, type_, said in ((KeyError("key"), KeyError, "key"), (Local("pity"), RuntimeError, "Local: pity")):
        with pytest.raises(type_, match=said) as caught:
            apart(lambda raised=raised: stumble(raised))  # type: ignore[misc]
        assert "in stumble" in caught.value.__notes__[0]
    assert capfd.readouterr() == ("", "")


def test_who_is_asked_twice_may_end_in_order(tmp_path: Path) -> None:
    stubborn = (
        "import signal, sys, time; asked = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4) if asked else asked.append(1))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.01)"
    )
    child = Child("stubborn", ["/usr/bin/env", "python3", "-c", stubborn], log=tmp_path / "log")
    for insist, ending in ((True, "exit code 4"), (False, "SIGKILL")):
        child.start()
        while "ready" not in child.last_lines():
            pass
        stop_together([child], 0.2, insist=insist)
        assert child.how_it_ended() == ending
