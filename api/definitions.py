"""A workflow definition in a request: JSON that holds it, or its YAML as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.requests import Request

from api.bodies import media_type, read_bytes, read_json, to_model
from api.errors import RequestInvalid
from api.shapes import GivenDefinition, SaveWorkflow
from nexusflow.errors import InvalidDefinition, Problem
from nexusflow.settings import get_settings

YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
BODIES = ("application/json", *YAML)


@dataclass(frozen=True)
class Given:
    """A definition's text. ``written``: the author wrote it so, so that lines and columns mean something."""

    source: bytes
    publish: bool = False
    written: bool = True

    @contextmanager
    def places(self) -> Iterator[None]:
        """Problems found in here name lines and columns only where the author can see them."""
        try:
            yield
        except InvalidDefinition as error:
            if not self.written:
                error.details = [replace(each, line=None, column=None) for each in error.details]
            raise


async def read_definition(request: Request, *, publish: bool | None = None) -> Given:
    """The definition in the body; ``publish``: the query's word on it. Raises Refused, RequestInvalid."""
    if media_type(request, BODIES) != "application/json":
        return Given(await read_bytes(request, get_settings().max_body_bytes), bool(publish))
    value = await read_json(request)
    model = to_model(value, SaveWorkflow if publish is not None else GivenDefinition)
    wanted = bool(publish) or (isinstance(model, SaveWorkflow) and model.publish)
    if model.definition is not None:
        return Given(orjson.dumps(model.definition, option=orjson.OPT_INDENT_2), wanted, written=False)
    return Given(_encoded(model.source or ""), wanted)


def _encoded(source: str) -> bytes:
    try:
        return source.encode()
    except UnicodeEncodeError:
        told = "The text holds half of a surrogate pair."
        raise RequestInvalid([Problem("/source", None, None, "CHARACTER_REFUSED", told)]) from None


def described(example: dict[str, Any], yaml: str, model: type[GivenDefinition]) -> dict[str, Any]:
    """How the body is described in the API's reference."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": model.model_json_schema(), "example": example},
                "application/yaml": {"schema": {"type": "string"}, "example": yaml},
            },
        }
    }
