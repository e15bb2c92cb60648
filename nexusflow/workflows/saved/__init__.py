"""Saved workflows, their versions and schedules."""
