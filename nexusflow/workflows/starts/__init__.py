"""How runs start: input, idempotency, many at once."""
