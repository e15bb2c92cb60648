"""Compares what a page shows with what a command printed."""

import json
import re


def agrees(shown: str, printed: str, language: str) -> bool:
    """Whether a page shows what was printed: … stands for anything, on a line of its own for any lines."""
    return _same_json(shown, printed) if language == "json" else _same_text(shown, printed)


def begins(shown: str, printed: str) -> bool:
    """Whether all that is shown has been printed by now, with more to come perhaps."""
    return _same_text(shown, printed, rest=r"(?:.*\n)*")


def _same_text(shown: str, printed: str, rest: str = "") -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + r"\n" for line in _lines(shown)
    )
    return re.fullmatch(pattern + rest, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    """Without colours, blank lines, and the width of columns, which follows the longest value."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [tidy for line in plain.splitlines() if (tidy := re.sub(r"([ ─━])\1*", r"\1", line).strip())]


def _same_json(shown: str, printed: str) -> bool:
    """As texts without white space: members in their order, "…" for any text, … for any value or further members."""
    try:
        compact = json.dumps(json.loads(printed), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return False
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|…|[^\s"…]+', shown)
    pattern = "".join(
        re.escape(token).replace("…", r'(?:[^"\\]|\\.)*')
        if token.startswith('"')
        else ".*?"
        if token == "…"
        else re.escape(token)
        for token in tokens
    )
    return re.fullmatch(pattern.replace(r",.*?", r"(?:,.*?)?"), compact, re.S) is not None
