"""Data that fits a JSON Schema, the same for the same question: what the local language model answers."""

import hashlib
from collections.abc import Mapping
from typing import Any

DEEPEST = 12
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "indigo", "jasper", "kelp", "lumen")
FORMATS = {
    "email": "{word}@example.com",
    "uri": "https://example.com/{word}",
    "date": "2026-0{digit}-15",
    "date-time": "2026-0{digit}-15T12:00:00Z",
    "time": "12:0{digit}:00Z",
    "uuid": "00000000-0000-4000-8000-00000000000{digit}",
    "hostname": "{word}.example.com",
    "ipv4": "192.0.2.{digit}",
}


def number_of(text: str) -> int:
    """A number that stands for a text, always the same."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:6], "big")


class SampleMaker:
    """Makes a value for a schema; ``seed`` is the question it answers. A ``pattern`` is not looked at."""

    def __init__(self, schema: Mapping[str, Any], seed: str) -> None:
        self._root = schema
        self._seed = seed

    def make(self) -> Any:
        """A value for the whole schema."""
        return self._value(self._root, "$", 0)

    def _value(self, schema: Any, path: str, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > DEEPEST:
            return None
        if "$ref" in schema:
            return self._value(self._target(str(schema["$ref"])), path, depth + 1)
        if "const" in schema:
            return schema["const"]
        chance = number_of(f"{self._seed}\0{path}")
        if schema.get("enum"):
            return schema["enum"][chance % len(schema["enum"])]
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return self._value(schema[word][0], path, depth + 1)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            named = schema.get("properties", {})
            return {name: self._value(one, f"{path}.{name}", depth + 1) for name, one in named.items()}
        if kind == "array":
            length = max(int(schema.get("minItems", 0)), min(2, int(schema.get("maxItems", 2))))
            return [self._value(schema.get("items", {}), f"{path}[{index}]", depth + 1) for index in range(length)]
        return _scalar(kind, schema, chance)

    def _target(self, reference: str) -> Any:
        target: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        return target


def _scalar(kind: str, schema: Mapping[str, Any], chance: int) -> Any:
    if kind == "boolean":
        return chance % 2 == 0
    if kind == "null":
        return None
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 101) - 1)
        step = schema.get("multipleOf", 1)
        first = -(-low // step) * step
        value = first + step * (chance % (int(max(0, high - first) // step) + 1))
        return int(value) if kind == "integer" else value
    text = FORMATS.get(schema.get("format", ""), "{word}").format(word=WORDS[chance % 12], digit=chance % 9 + 1)
    text = text.ljust(int(schema.get("minLength", 0)), "x")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text
