"""Ctrl-C and SIGTERM: the first asks, the second leaves."""

import signal
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LeaveNow(BaseException):
    """The person asked a second time: nothing is waited for."""


class Interruption:
    """While it is entered, both signals end the command (KeyboardInterrupt); once ``patient``, the first only asks.

    ``asked``: whether the person wants it to end.
    """

    def __init__(self) -> None:
        self.asked = False
        self.patient = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self.patient:
            raise KeyboardInterrupt
        if self.asked:
            raise LeaveNow
        self.asked = True
