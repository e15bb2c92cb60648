"""Requests to any web address, kept away from private networks."""
