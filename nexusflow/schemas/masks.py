"""Which parts of a value a schema marks ``x-sensitive: true``, and the value without them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nexusflow.pointers import child
from nexusflow.schemas.keeping import kept_by_size
from nexusflow.schemas.rules import resolve_pointer, subschemas

MASK = "***"
_IN_PLACE = ("allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas")
_NOT_OF_THE_VALUE = ("$defs", "definitions", "propertyNames", "not")


@dataclass
class Masks:
    """Which parts of a value are sensitive: the ``whole``, or some below; ``*`` stands for any key or index."""

    whole: bool = False
    parts: dict[str, "Masks"] = field(default_factory=dict)

    def below(self, part: str) -> "Masks":
        """What is sensitive in one part."""
        exact, every = self.parts.get(part), self.parts.get("*")
        if exact is None or every is None:
            return exact or every or Masks()
        return Masks().merge(every).merge(exact)

    def merge(self, other: "Masks") -> "Masks":
        """Mark all that is marked in ``other``, too."""
        self.whole = self.whole or other.whole
        for part, masks in other.parts.items():
            self.parts.setdefault(part, Masks()).merge(masks)
        return self


def masks_of(schema: Mapping[str, Any]) -> Masks:
    """What a schema marks in whichever of its branches: rather too much than too little."""
    return _masks(json.dumps(schema, sort_keys=True))


def sensitive_pointers(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a schema says ``x-sensitive: true``: JSON Pointers in its values; ``*`` is any item or key."""
    return tuple(sorted(_pointers(masks_of(schema), "")))


def mask(schema: Mapping[str, Any], value: Any) -> Any:
    """A copy of a value with every sensitive part replaced by ``***``."""
    return _mask(masks_of(schema), value)


def sensitive_leaves(schema: Mapping[str, Any], value: Any) -> Iterator[Any]:
    """The texts, numbers and other single values in the parts of a value that ``mask`` hides."""
    yield from _leaves(masks_of(schema), value, hidden=False)


@kept_by_size
def _masks(key: str) -> Masks:
    schema = json.loads(key)
    masks = Masks()
    _mark(schema, schema, masks, ())
    return masks


def _mark(root: Any, schema: Any, masks: Masks, followed: tuple[str, ...]) -> None:
    if not isinstance(schema, Mapping):
        return
    masks.whole = masks.whole or schema.get("x-sensitive") is True
    target = schema.get("$ref")
    if isinstance(target, str) and target not in followed:
        _mark(root, resolve_pointer(root, target), masks, (*followed, target))
    for pointer, inner in subschemas(schema):
        word, _, name = pointer[1:].partition("/")
        if word in _NOT_OF_THE_VALUE:
            continue
        below = Masks()
        _mark(root, inner, below, followed)
        if not (below.whole or below.parts):
            continue
        if word in _IN_PLACE:
            masks.merge(below)
        else:
            named = word in ("properties", "prefixItems")
            part = name.replace("~1", "/").replace("~0", "~") if named else "*"
            masks.parts.setdefault(part, Masks()).merge(below)


def _pointers(masks: Masks, pointer: str) -> Iterator[str]:
    if masks.whole:
        yield pointer
    for part, below in masks.parts.items():
        yield from _pointers(below, child(pointer, part))


def _mask(masks: Masks, value: Any) -> Any:
    if masks.whole:
        return MASK
    if isinstance(value, Mapping) and masks.parts:
        return {key: _mask(masks.below(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and masks.parts:
        return [_mask(masks.below(str(index)), inner) for index, inner in enumerate(value)]
    return value


def _leaves(masks: Masks, value: Any, *, hidden: bool) -> Iterator[Any]:
    hidden = hidden or masks.whole
    if not (hidden or masks.parts):
        return
    if isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for part, inner in items:
            yield from _leaves(masks.below(str(part)), inner, hidden=hidden)
    elif hidden:
        yield value
