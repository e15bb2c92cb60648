"""The one-command cluster: a private PostgreSQL and broker, and the Procfile's processes."""
