"""Beat's entry for retention is done by a worker, as any message of the queue."""

from celery import Celery

from beat.schedule import SCHEDULE
from nexusflow.queues import WORKFLOW
from tests.integration.cluster import Cluster


def test_a_worker_does_the_hourly_entry(cluster: Cluster) -> None:
    app = Celery(broker=cluster.broker, set_as_current=False)
    app.conf.task_create_missing_queues = False
    app.conf.task_queues = []
    options = SCHEDULE["prune"]["options"]
    app.send_task(SCHEDULE["prune"]["task"], (), exchange=WORKFLOW, routing_key=WORKFLOW, queue=None, **options)
    cluster.until(lambda: cluster.processes["worker"].says("retention.done"), "the worker did it")
