"""HubSpot's contacts in memory and in a file, so that a second run finds those of the first."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIRST_ID = 1_001


class Contacts:
    """Contacts by id and by e-mail address; each change is appended to the file as one JSON line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._by_id: dict[str, dict[str, Any]] = {}
        self._by_email: dict[str, str] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                self._keep(json.loads(line))
            except (ValueError, KeyError):
                continue  # the last line of a process that was killed
        self._file = path.open("a", encoding="utf-8")

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, id_property: str, value: str) -> dict[str, Any] | None:
        """The contact with that id, or with that value of a property; None without one."""
        if id_property == "email":
            value = self._by_email.get(value.strip().lower(), "")
        elif id_property not in ("", "hs_object_id", "id"):
            return next((one for one in self.all() if one["properties"].get(id_property) == value), None)
        return self._by_id.get(value)

    def all(self) -> list[dict[str, Any]]:
        """Every contact, oldest first."""
        return list(self._by_id.values())

    def put(self, contact_id: str | None, properties: dict[str, Any], trace: str = "") -> dict[str, Any]:
        """Make a contact, or change the one with that id; gives it back."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        old = self._by_id.get(contact_id or "")
        number = contact_id if old else str(FIRST_ID + len(self._by_id))
        contact = {
            "id": number,
            "properties": {**(old["properties"] if old else {"createdate": now}), **properties, "hs_object_id": number},
            "createdAt": old["createdAt"] if old else now,
            "updatedAt": now,
            "archived": False,
        }
        if trace:
            contact["objectWriteTraceId"] = trace
        self._keep(contact)
        self._file.write(json.dumps(contact, ensure_ascii=False) + "\n")
        self._file.flush()
        return contact

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _keep(self, contact: dict[str, Any]) -> None:
        self._by_id[contact["id"]] = contact
        if email := str(contact["properties"].get("email") or "").strip().lower():
            self._by_email[email] = contact["id"]
