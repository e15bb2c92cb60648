"""Expressions: parsed and checked here, evaluated in child processes."""
