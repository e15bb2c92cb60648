"""What an operator looks at: queues, workers, dead letters, metrics."""
