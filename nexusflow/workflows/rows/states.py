"""Statuses of runs and states of steps, and when a join is met."""

from collections.abc import Sequence
from typing import Any

RUN_TERMINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
STEP_TERMINAL = frozenset({"succeeded", "failed", "skipped", "blocked", "cancelled", "timed_out"})
STEP_OPEN = frozenset({"running", "retrying", "waiting"})
"""States of records that may still change."""
STEP_FAILED = frozenset({"failed", "blocked", "cancelled", "timed_out"})


def join_met(join: str | dict[str, Any], states: Sequence[str]) -> bool:
    """Whether a step may act, given its needs' terminal states (all of them, or a quorum of successes).

    ``all_success``: no need failed · ``all_done``: always · ``any_success``: one succeeded, or all were skipped ·
    ``{"n": k}``: k succeeded. A skipped step counts as done: it never blocks, and it is no success to a quorum
    (only where every need was skipped is there nothing that failed, so the step runs).
    """
    if join == "all_done" or not states:
        return True
    if join == "all_success":
        return not any(state in STEP_FAILED for state in states)
    quorum = join["n"] if isinstance(join, dict) else 1
    return states.count("succeeded") >= quorum or all(state == "skipped" for state in states)
