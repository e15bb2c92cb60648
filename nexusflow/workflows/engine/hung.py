"""Calls that hang: abandoned at their timeout, so that they hold no slot; a process that gathers them is recycled."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from billiard.process import current_process

from nexusflow.log import get_logger

log = get_logger(__name__)
MAX_ABANDONED = 16


class TookTooLong(Exception):
    """The call did not return in time; its thread is left to itself."""


_abandoned: list[threading.Thread] = []
_lock = threading.Lock()


def within(timeout: float, call: Callable[[], Any]) -> Any:
    """What the call returns or raises, if it does so within ``timeout`` seconds. Raises TookTooLong.

    The call has a thread of its own: Python cannot stop a thread, but it can stop waiting for one.
    """
    box: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            box.append((True, call()))
        except BaseException as error:
            box.append((False, error))

    thread = threading.Thread(target=work, name="action", daemon=True)
    thread.start()
    thread.join(timeout)
    if not box:
        _abandon(thread)
        raise TookTooLong
    succeeded, result = box[0]
    if succeeded:
        return result
    raise result


def _abandon(thread: threading.Thread) -> None:
    """Count it; a worker of threads with too many that never came back ends warmly, to be started afresh."""
    with _lock:
        _abandoned[:] = [each for each in _abandoned if each.is_alive()] + [thread]
        full = len(_abandoned) == MAX_ABANDONED
    if full and current_process().name == "MainProcess":
        log.warning("worker.recycled", abandoned=MAX_ABANDONED)
        os.kill(os.getpid(), signal.SIGTERM)
