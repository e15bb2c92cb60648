"""How the local language model rates a sales lead: by title, size and what the lead wrote; always the same."""

import json
import re
from collections.abc import Mapping
from typing import Any

from nexusflow.embedded.vendors.samples import number_of

FIELD = re.compile(r"^[ \t]*([A-Za-z][A-Za-z _]{0,40}?)[ \t]*:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
TITLES = (
    (34, "decides", re.compile(r"\b(c[etfomi]o|chief|founder|owner|president|managing)\b")),
    (27, "leads a department", re.compile(r"\b(vp|vice|head|director)\b")),
    (17, "leads a team", re.compile(r"\b(manager|lead|principal)\b")),
)
SIZES = ((1_000, 30, "a large company"), (200, 24, "a mid-size company"), (50, 16, "a growing company"), (10, 9, ""))
SIGNALS = (
    ("budget", "has a budget"),
    ("demo", "wants a demo"),
    ("pricing", "asks for prices"),
    ("quarter", "names a date"),
    ("urgent", "is in a hurry"),
    ("migrat", "wants to switch"),
)
HOT, WARM = 70, 40


def wants_score(schema: Mapping[str, Any]) -> bool:
    """Whether a schema asks for a lead's score."""
    return {"score", "tier"} <= set(schema.get("properties", {}))


def score_lead(prompt: str) -> dict[str, Any]:
    """``{score, tier, reason}`` of the lead in the prompt: a JSON object, or lines of ``name: value``."""
    fields = _fields(prompt)
    points = number_of(prompt) % 7
    reasons: list[str] = []
    title = fields.get("job_title", fields.get("title", "")).lower()
    for worth, reason, pattern in TITLES:
        if pattern.search(title):
            points, reasons = points + worth, [*reasons, reason]
            break
    digits = re.sub(r"\D", "", fields.get("employees", ""))[:9]
    for least, worth, reason in SIZES:
        if digits and int(digits) >= least:
            points, reasons = points + worth, [*reasons, reason] if reason else reasons
            break
    said = prompt.lower()
    found = [reason for word, reason in SIGNALS if word in said]
    points += min(30, 12 * len(found))
    reasons += found[:2]
    score = min(100, points)
    tier = "hot" if score >= HOT else "warm" if score >= WARM else "cold"
    reason = ", ".join(reasons).capitalize() or "Little is known"
    return {"score": score, "tier": tier, "reason": f"{reason}."}


def _fields(prompt: str) -> dict[str, str]:
    start = prompt.find("{")
    try:
        found = json.JSONDecoder().raw_decode(prompt, start)[0] if start >= 0 else {}
    except ValueError:
        found = {}
    pairs = found.items() if isinstance(found, dict) and found else FIELD.findall(prompt)
    return {str(name).strip().lower().replace(" ", "_"): str(value) for name, value in pairs}
