"""What NexusFlow costs and how long it takes, measured on private real servers."""
