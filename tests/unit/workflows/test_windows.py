"""How far ahead of its workers a queue is filled."""

import json

from nexusflow.workflows.clock.windows import AHEAD_SECONDS, FIRST, LEAST, MOST, Windows


def size_of(windows: Windows) -> int:
    return int(json.loads(windows.to_json()).get("workflow", FIRST))


def flooded(rate: float, seconds: float = 20.0, look_every: float = 0.1) -> tuple[int, float]:
    """A queue that is filled up to its window and worked off steadily: the window at last, and one's wait then."""
    windows, length = Windows(), 0.0
    for _ in range(int(seconds / look_every)):
        length = max(0.0, max(length, float(size_of(windows))) - rate * look_every)
        ahead = {"workflow": (round(length), length / rate / 2)} if length >= 1 else {}
        windows.look(ahead, ["workflow"])
    return size_of(windows), size_of(windows) / rate


def test_a_flood_is_worked_off_and_nobody_waits_long_behind_it() -> None:
    for rate in (100.0, 500.0, 3_000.0):
        size, wait = flooded(rate)
        assert LEAST <= size <= MOST
        assert wait < 1.5 * AHEAD_SECONDS
        assert size > rate * 0.1 * 1.5, "workers do not idle until the next look"


def test_slow_workers_get_the_least_and_none_at_all_too() -> None:
    windows = Windows()
    for _ in range(30):
        windows.look({"workflow": (FIRST, 60.0)}, ["workflow"])
    assert size_of(windows) == LEAST
    windows.look({}, [])
    assert size_of(windows) == FIRST
