"""What people and programs are shown of plans and runs."""
