"""How the runner waits."""

from nexusflow.workflows.engine.runner import LONGEST_PAUSE, STORAGE_PAUSE, storage_pause


def test_a_storage_that_stays_away_is_asked_less_and_less_often() -> None:
    pauses = [storage_pause(attempts) for attempts in (0, 1, 2, 3, 1_000_000)]
    assert pauses == sorted(pauses)
    assert STORAGE_PAUSE / 2 < pauses[0] <= STORAGE_PAUSE
    assert LONGEST_PAUSE / 2 < pauses[-1] <= LONGEST_PAUSE
