"""The queues: their names, limits and dead letters. This is their only home."""

from dataclasses import dataclass

WORKFLOW = "workflow"
INTEGRATION = "integration"
NOTIFICATION = "notification"


@dataclass(frozen=True)
class QueueSpec:
    """One queue of the cluster.

    ``pool`` and ``concurrency`` are the defaults of the workers that serve it;
    ``delivery_limit`` is how often RabbitMQ delivers a message before it goes to ``<name>.dead``;
    ``max_length`` bounds the queue (publishers are refused beyond it, nothing is dropped).
    """

    name: str
    pool: str
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
