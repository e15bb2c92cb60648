"""Commands on a real database, called in this process."""
