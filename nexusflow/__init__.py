"""NexusFlow: a durable workflow-automation engine on Celery, RabbitMQ and PostgreSQL."""

__version__ = "0.1.0"
