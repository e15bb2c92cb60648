"""The ground: sessions, roles, migrations."""
