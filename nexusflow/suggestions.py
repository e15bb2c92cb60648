"""Words for messages: did-you-mean, enumerations, and values in short."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

_SHOWN = 12


def one_of(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``one of a, b or c``; long lists are cut."""
    if len(words) > _SHOWN:
        return f"one of {', '.join(words[:_SHOWN])}, …"
    if len(words) < 3:
        return " or ".join(words)
    return f"one of {', '.join(words[:-1])} or {words[-1]}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that an author most likely meant."""
    candidates = sorted(set(known))
    folded = {each.lower(): each for each in candidates}
    found = get_close_matches(word.lower(), folded, 1, 0.6)
    return folded[found[0]] if found else None


def hint_for(word: str, known: Iterable[str], what: str = "Known here") -> str:
    """Did you mean …?, or else what there is."""
    candidates = sorted(set(known))
    meant = closest(word, candidates)
    if meant:
        return f"Did you mean '{meant}'?"
    if not candidates:
        return ""
    more = ", …" if len(candidates) > _SHOWN else ""
    return f"{what}: {', '.join(candidates[:_SHOWN])}{more}."


def shown_value(value: Any) -> str:
    """A value of a document in a few words: ``a mapping``, ``the text 'a'``, ``empty``."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return f"the text '{shown}'" if isinstance(value, str) else f"the number {shown}"
