"""Plans as Celery's canvases: published, joined, leased."""
