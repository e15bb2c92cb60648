"""What happens when time passes: ticks, and the dispatcher."""
