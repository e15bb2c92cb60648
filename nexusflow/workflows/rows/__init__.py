"""What the engine keeps in PostgreSQL: work, values, files, plans."""
