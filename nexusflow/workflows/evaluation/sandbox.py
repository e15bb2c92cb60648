"""The sandbox: a few long-lived child processes that evaluate CEL and jq under limits, replaced when they die."""

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from nexusflow.errors import Permanent
from nexusflow.workflows.evaluation.cel_syntax import ExpressionError
from nexusflow.workflows.evaluation.sandbox_errors import (
    explain_cel,
    explain_jq,
    jq_problem,
    limit_error,
    timeout_error,
)
from nexusflow.workflows.evaluation.sandbox_process import Child, ChildDied, ChildTimedOut

CHILDREN = 2
MAX_INPUT = 8 * 1024 * 1024
MAX_JQ_SOURCE = 16 * 1024
_RETRY_WITHIN = 0.5


class Sandbox:
    """Evaluates CEL and jq in at most ``children`` processes, started when needed; safe for threads and forks."""

    def __init__(self, children: int = CHILDREN) -> None:
        self._children = children
        self._reset()
        _SANDBOXES.add(self)

    def _reset(self) -> None:
        self._idle: deque[Child] = deque()
        self._places = threading.BoundedSemaphore(self._children)

    def cel(self, source: str, variables: Mapping[str, Any]) -> Any:
        """The JSON value of one CEL expression; raises Permanent (EXPRESSION_FAILED, EXPRESSION_LIMIT, …)."""
        return self.cel_all([source], variables)[0]

    def cel_all(self, sources: Sequence[str], variables: Mapping[str, Any]) -> list[Any]:
        """The JSON values of several expressions over the same variables, in one exchange with a child.

        Raises Permanent for the first that fails, with ``details={"expression": its source}``.
        """
        frame = _pack({"op": "cel", "sources": list(sources), "data": variables})
        answers = self._ask(frame, list(sources))
        for source, found in zip(sources, answers, strict=True):
            if "value" not in found:
                raise explain_cel(found["kind"], found["message"], source)
        return [found["value"] for found in answers]

    def jq(self, source: str, value: Any) -> Any:
        """The one output of a jq program over a JSON value; raises Permanent."""
        if (problem := _too_long(source)) is not None:
            raise Permanent(problem.code, problem.message, problem.hint)
        frame = _pack({"op": "jq", "source": source, "text": _pack(value).decode()})
        found = self._ask(frame, [source])[0]
        if "value" not in found:
            raise explain_jq(found["kind"], found["message"], source)
        return found["value"]

    def check_jq(self, source: str) -> ExpressionError | None:
        """What is wrong with a jq program (it is compiled, not run), or None."""
        if (problem := _too_long(source)) is not None:
            return problem
        try:
            found = self._ask(_pack({"op": "check", "source": source}), [source])[0]
        except Permanent as error:
            return ExpressionError(error.code, error.message, error.hint)
        return None if "value" in found else jq_problem(found["message"], source)

    def close(self) -> None:
        """Ends the idle children; a later evaluation starts new ones."""
        while (child := self._idle_child()) is not None:
            child.kill()

    def _ask(self, frame: bytes, sources: list[str]) -> list[dict[str, Any]]:
        with self._places:
            started = time.monotonic()
            try:
                return self._try(self._idle_child() or Child(), frame, sources)
            except ChildDied as died:
                if time.monotonic() - started > _RETRY_WITHIN:
                    raise limit_error("memory", sources[died.answered]) from None
            # It died idle, was killed from outside, or had no memory: an evaluation has no effects, so ask once more.
            try:
                return self._try(Child(), frame, sources)
            except ChildDied as died:
                raise limit_error("memory", sources[died.answered]) from None

    def _idle_child(self) -> Child | None:
        while True:
            try:
                child = self._idle.pop()
            except IndexError:  # another thread may have taken the last one
                return None
            if child.process.poll() is None:
                return child
            child.kill()

    def _try(self, child: Child, frame: bytes, sources: list[str]) -> list[dict[str, Any]]:
        try:
            found = child.ask(frame, len(sources))
        except ChildTimedOut as late:
            child.kill()
            raise timeout_error(late.worked, sources[late.answered]) from None
        except BaseException:
            child.kill()
            raise
        self._idle.append(child)
        return found

    def _forked(self) -> None:
        for child in self._idle:
            child.abandon()
        self._reset()


def _too_long(source: str) -> ExpressionError | None:
    if len(source.encode()) <= MAX_JQ_SOURCE:
        return None
    return ExpressionError("EXPRESSION_TOO_BIG", f"The jq program is longer than {MAX_JQ_SOURCE} bytes.", "Split it.")


def _pack(value: Any) -> bytes:
    try:
        packed = orjson.dumps(value, default=_as_dict)
    except TypeError as error:
        message = f"The data cannot be given to an expression: {error}."
        raise Permanent("EXPRESSION_FAILED", message, "Numbers beyond 64 bits are passed as text.") from None
    if len(packed) > MAX_INPUT:
        raise limit_error("input", "")
    return packed


def _as_dict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_SANDBOXES: "weakref.WeakSet[Sandbox]" = weakref.WeakSet()
_lock = threading.Lock()
_sandbox: Sandbox | None = None


def get_sandbox() -> Sandbox:
    """The sandbox of this process."""
    global _sandbox  # noqa: PLW0603
    with _lock:
        if _sandbox is None:
            _sandbox = Sandbox()
            atexit.register(_sandbox.close)
        return _sandbox


def _after_fork() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    for sandbox in list(_SANDBOXES):
        sandbox._forked()


os.register_at_fork(after_in_child=_after_fork)
