"""The workflow engine: definitions, plans, canvases, runs."""
