"""The door from the clock: Celery beat, its table, and the dispatcher it runs."""
