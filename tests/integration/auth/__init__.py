"""API keys on a real database."""
