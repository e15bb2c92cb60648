"""``nexusflow validate``."""

from typing import Any

from nexusflow.cli import exits
from nexusflow.cli.console import out, print_json, say
from nexusflow.cli.sources import Source, check_source, read_source, show_invalid
from nexusflow.errors import InvalidDefinition, NexusError, Problem


class Validation:
    """One check of one file."""

    def __init__(self, name: str, *, as_json: bool) -> None:
        self._name, self._as_json = name, as_json
        self._source: Source | None = None

    def perform(self) -> int:
        """Check the file and say what is wrong with it."""
        try:
            self._source = read_source(self._name)
            definition = check_source(self._source)
        except InvalidDefinition as error:
            if self._as_json:
                raise
            show_invalid(self._name, error, self._source.content if self._source else None)
            return exits.INVALID
        if self._as_json:
            print_json({"valid": True, "problems": []})
        else:
            say(f"{self._name} is valid ({definition.name}).", "green", to=out())
        return exits.SUCCEEDED

    def failed(self, error: NexusError) -> dict[str, Any]:
        """The problems as programs get them; what kept the file from being read is one, too."""
        problems = error.details or [Problem("", None, None, error.code, error.message, error.hint)]
        return {"valid": False, "problems": [each.as_dict() for each in problems]}
