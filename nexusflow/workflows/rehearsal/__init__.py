"""Rehearsing a workflow inside this process: mocked answers, no cluster, no effects."""
