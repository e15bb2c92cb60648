"""Beats that are doubled, killed and away for a while: each tick of a second's schedule starts one run."""

import time
from collections.abc import Callable

from tests.integration.cluster import Cluster
from tests.integration.timekeeping import keep_time, kill


def test_beats_that_are_doubled_and_killed_change_nothing(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.worker()
    cluster.beat("beat-1")
    cluster.beat("beat-2")
    cluster.wait_ready()

    def meanwhile() -> None:
        time.sleep(2.6)
        kill(cluster, "beat-1")
        time.sleep(1.6)
        kill(cluster, "beat-2")  # nobody keeps the clock until the first one is back
        cluster.beat("beat-1")
        time.sleep(2.5)
        cluster.beat("beat-2")
        time.sleep(1.5)

    record = keep_time(cluster, meanwhile)
    assert len(record.expected) >= 8
    assert record.faults() == []
