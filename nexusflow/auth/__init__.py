"""Who may: API keys, each of which names its tenant."""
