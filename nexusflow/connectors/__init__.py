"""What a step can do: one folder a vendor, each action with its Input and Output schema."""
