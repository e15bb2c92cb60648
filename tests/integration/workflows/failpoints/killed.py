"""The app of a worker that kills itself once at an armed point: ``celery -A …failpoints.killed``.

A point (before-settle, before-publish, before-return, after-put) is armed by a file of its name in the cluster's home;
taking the file away is what makes it happen once.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nexusflow import storage
from nexusflow.celery import app
from nexusflow.settings import get_settings
from nexusflow.workflows.engine import runner
from nexusflow.workflows.rows import work

__all__ = ["app"]


def _dies_at(point: str, then: Callable[..., Any]) -> Callable[..., Any]:
    def instead(*arguments: Any, **named: Any) -> Any:
        home = get_settings().home
        try:
            (Path(home or "/nonexistent") / point).unlink()
        except FileNotFoundError:
            return then(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit

    return instead


def _returning(self: runner.Runner, hint: work.Hint) -> runner.Done:
    return _leave(_run(self, hint))


def _leave_quietly(done: runner.Done) -> runner.Done:
    return done


def _stays(key: str) -> str:
    return key


def _putting(*arguments: Any, **named: Any) -> str:
    key: str = _leave_stored(_put(*arguments, **named))
    return key


_put = storage.put
_leave_stored = _dies_at("after-put", _stays)
storage.put = _putting
_run = runner.Runner.run
_leave = _dies_at("before-return", _leave_quietly)
work.settle = _dies_at("before-settle", work.settle)  # type: ignore[assignment]
runner.publish = _dies_at("before-publish", runner.publish)  # type: ignore[assignment]
runner.Runner.run = _returning  # type: ignore[method-assign]
