"""What makes a Celery worker NexusFlow's: its command line, what it takes, shows and counts, and how it ends."""
