"""The definition language: text, models, checks. Pure."""
