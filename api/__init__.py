"""The door from HTTP: validates, enqueues, reports; nothing long runs in it."""
