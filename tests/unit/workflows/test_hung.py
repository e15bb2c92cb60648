"""Calls in a thread of their own: what they give, and what becomes of those that never come back."""

import signal
import subprocess
import sys
import time

import pytest

from nexusflow.workflows.engine.hung import MAX_ABANDONED, TookTooLong, within

HANG = """
import sys, threading
from nexusflow.workflows.engine.hung import TookTooLong, within

for number in range(int(sys.argv[1])):
    try:
        within(0.01, threading.Event().wait)
    except TookTooLong:
        pass
"""


def test_a_call_gives_its_result_or_its_error() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(KeyError, match="gone"):
        within(5, lambda: {}["gone"])


def test_a_call_that_hangs_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(TookTooLong):
        within(0.05, lambda: time.sleep(2))
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(("hanging", "code"), [(MAX_ABANDONED - 1, 0), (MAX_ABANDONED, -signal.SIGTERM)])
def test_a_process_full_of_hung_calls_asks_itself_to_end(hanging: int, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", HANG, str(hanging)], capture_output=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
