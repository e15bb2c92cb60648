"""The schema's history: tables, policies, roles and grants."""
