"""Language models behind OpenAI's API, or one that speaks it."""
