"""Which pool a worker gets when nobody says."""

import os

import pytest

from nexusflow.queues import INTEGRATION, MIXED_PROCESSES, NOTIFICATION, QUEUE_NAMES, WORKFLOW, pool_for
from nexusflow.workers.command import serves
from nexusflow.workflows.rows.counters import Counters

CPUS = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("queues", "pool"),
    [
        ([INTEGRATION], ("threads", 32)),
        ([INTEGRATION, NOTIFICATION], ("threads", 48)),
        ([WORKFLOW], ("prefork", max(2, CPUS))),
        ([WORKFLOW, NOTIFICATION], ("prefork", max(MIXED_PROCESSES, CPUS))),
        (QUEUE_NAMES, ("prefork", max(MIXED_PROCESSES, CPUS))),
    ],
)
def test_pools(queues: list[str], pool: tuple[str, int]) -> None:
    assert pool_for(queues) == pool


def test_what_a_worker_serves() -> None:
    assert serves("integration, notification") == [INTEGRATION, NOTIFICATION]
    assert serves(None) == list(QUEUE_NAMES)
    assert serves(None, "workflow") == [INTEGRATION, NOTIFICATION]


def test_counters_sum_what_a_pools_children_counted() -> None:
    counters = Counters()
    counters.count("losses", 2)
    counters.count("of nothing known")
    child = os.fork()
    if child == 0:
        counters.take_row(1)
        counters.count("steps.failed", 3)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert counters.read() == {"losses": 2, "steps.failed": 3}
