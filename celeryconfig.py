"""Wiring only: settings, queues and beat's table under Celery's names."""

from kombu import Exchange, Queue

from beat.schedule import SCHEDULE
from nexusflow.queues import QUEUES, WORKFLOW
from nexusflow.settings import get_settings

_settings = get_settings()


def _secret(value: object) -> str:
    return value.get_secret_value() if value is not None else ""  # type: ignore[attr-defined,no-any-return]


broker_url = _secret(_settings.broker_url) or "amqp://guest:guest@127.0.0.1:5672//"
_rabbitmq = broker_url.startswith("amqp")
# RabbitMQ confirms what it has on disk; without it accepted messages vanish in a broker's restart.
broker_transport_options = {"confirm_publish": True} if _rabbitmq else {"visibility_timeout": 3600}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_pool_limit = 8

result_backend = "nexusflow.workflows.messaging.joins:PostgresJoins"
task_ignore_result = True
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
enable_utc = True
timezone = "UTC"

imports = ("tasks.workflow", "tasks.integration", "tasks.notification", "nexusflow.workers.heartbeat")


def _queue(name: str, dead: str, delivery_limit: int, max_length: int) -> Queue:
    return Queue(
        name,
        Exchange(name, type="direct", durable=True),
        routing_key=name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": delivery_limit,
            "x-max-length": max_length,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": dead,
            "x-dead-letter-routing-key": dead,
            "x-dead-letter-strategy": "at-least-once",
        },
    )


task_queues = [_queue(spec.name, spec.dead, spec.delivery_limit, spec.max_length) for spec in QUEUES]
task_routes = {f"tasks.{spec.name}.*": {"queue": spec.name} for spec in QUEUES}
task_default_queue = WORKFLOW
task_default_exchange = WORKFLOW
task_default_exchange_type = "direct"
task_default_routing_key = WORKFLOW
task_default_queue_type = "quorum"
task_create_missing_queues = False
task_publish_retry_policy = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 0.5}
# Ack early: recovery is the lease's business. A message lost with its worker is published again from the rows.
task_acks_late = False
worker_prefetch_multiplier = 4
worker_consumer = "nexusflow.workers.consumer:Consumer"
worker_hijack_root_logger = False
# What the processes say is lines of JSON already; redirected, beat's would be warnings with JSON in them.
worker_redirect_stdouts = False
worker_detect_quorum_queues = True
# Flower turns events on while it watches; each one is a publication of its own.
worker_send_task_events = False
task_send_sent_event = False
worker_cancel_long_running_tasks_on_connection_loss = False

beat_scheduler = "beat.scheduler:DispatchScheduler"
beat_schedule = SCHEDULE
