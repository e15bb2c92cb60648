"""Doors from the broker: one file a queue."""
