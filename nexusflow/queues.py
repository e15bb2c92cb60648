"""The queues: their names, limits, dead letters and pools. This is their only home."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

WORKFLOW = "workflow"
INTEGRATION = "integration"
NOTIFICATION = "notification"

Pool = Literal["prefork", "threads"]
MIXED_PROCESSES = 8
"""Processes of a worker that serves CPU-bound and I/O-bound queues together: for a small installation."""


@dataclass(frozen=True)
class QueueSpec:
    """One queue of the cluster.

    ``pool`` and ``concurrency`` are the defaults of the workers that serve it;
    ``delivery_limit`` is how often RabbitMQ delivers a message before it goes to ``<name>.dead``;
    ``max_length`` bounds the queue (publishers are refused beyond it, nothing is dropped).
    """

    name: str
    pool: Pool
    concurrency: int
    delivery_limit: int = 20
    max_length: int = 1_000_000

    @property
    def dead(self) -> str:
        """The name of the queue's dead-letter queue."""
        return f"{self.name}.dead"


QUEUES: tuple[QueueSpec, ...] = (
    QueueSpec(WORKFLOW, pool="prefork", concurrency=2),
    QueueSpec(INTEGRATION, pool="threads", concurrency=32),
    QueueSpec(NOTIFICATION, pool="threads", concurrency=16),
)
QUEUE_NAMES: tuple[str, ...] = tuple(spec.name for spec in QUEUES)


def pool_for(names: Iterable[str]) -> tuple[Pool, int]:
    """The pool and the concurrency of a worker that serves these queues and was told neither.

    Queues that wait for others share threads, the sum of theirs. CPU-bound work gets processes: one a CPU, at least
    its queue's number; together with queues that wait, ``MIXED_PROCESSES`` at least.
    """
    wanted = set(names)
    served = [spec for spec in QUEUES if spec.name in wanted] or list(QUEUES)
    if all(spec.pool == "threads" for spec in served):
        return "threads", sum(spec.concurrency for spec in served)
    least = max(spec.concurrency for spec in served if spec.pool == "prefork")
    if any(spec.pool == "threads" for spec in served):
        least = max(least, MIXED_PROCESSES)
    return "prefork", max(least, os.cpu_count() or 1)
