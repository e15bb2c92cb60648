"""What the vendors were asked: one JSON line a call, for people and for tests that count on the vendors' side."""

import json
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REMEMBERED = 200_000


class CallLog:
    """Appends calls to a file and remembers those of this process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._calls: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    def add(self, vendor: str, operation: str, *, idempotency_key: str = "", **fields: Any) -> None:
        """Record a call; one write, so that a reader never sees half a line of a live process."""
        call = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "vendor": vendor,
            "operation": operation,
            "idempotency_key": idempotency_key,
            **fields,
        }
        self._calls.append(call)
        os.write(self._file, json.dumps(call, ensure_ascii=False).encode("utf-8") + b"\n")

    def of(self, vendor: str = "", operation: str = "") -> list[dict[str, Any]]:
        """The calls of this process, oldest first; all, or those of a vendor or an operation."""
        return [call for call in self._calls if vendor in ("", call["vendor"]) and operation in ("", call["operation"])]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
